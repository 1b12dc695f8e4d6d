"""report: what happened? One HTML page about the run, made from its artifacts and needing nothing else."""

from scratchlm.core.artifact import Artifact, Draft, Home, sha256_of
from scratchlm.core.config import Settings
from scratchlm.core.journal import Journal
from scratchlm.stages import STAGES


class Config(Settings):
    pass


def run(config: Config, home: Home, journal: Journal) -> Artifact:
    """Write ``report/index.html`` about whatever stages are finished."""
    from scratchlm.report import page  # it draws with matplotlib, which every other command would wait for

    others = {verb: name for verb, name in STAGES.items() if name != "report"}
    made = {name: artifact.fingerprint for name in others.values() if (artifact := home.find(name))}
    evidence = {"evidence": sha256_of(page.EVIDENCE)} if page.EVIDENCE.exists() else {}

    def make(draft: Draft) -> None:
        text = page.render(home, others)
        draft.write_text("index.html", text)
        draft.count(bytes=len(text.encode()), stages=len(made))

    return home.build("report", config, made | evidence, make)
