"""Keys to somebody's account: the shapes that providers publish, private key blocks, and secrets by the name that stands before them.

Every shape of a key holds a part that is drawn at random; a part that repeats a few letters is a placeholder. A secret is what follows a
name such as ``token`` or ``password`` and a sign or the word "is", or stands before the host of a URL, and looks drawn at random; after a
name for a password also a word and a number with a capital or a mark, as people choose them ("Summer2024"). Below eight characters, and
where it is made of plain words alone, nothing tells a secret from prose: those stay.
"""

import math
import re
from collections import Counter

from scratchlm.privacy.pii_pattern import Pattern, always, before


def entropy(value: str) -> float:
    """Bits per character, from the counts of the characters in it."""
    counts = Counter(value).values()
    return -sum(count / len(value) * math.log2(count / len(value)) for count in counts)


def is_drawn(text: str, start: int, end: int) -> bool:
    """Whether the last 20 characters vary as chance makes them: random hexadecimal gives about 3.3 bits each, "xxxx" none."""
    return entropy(text[max(start, end - 20) : end]) > 2.7


def is_key(text: str, start: int, end: int) -> bool:
    """Whether it begins where a word begins, is drawn at random and is not the one from the provider's own handbook."""
    if "EXAMPLE" in text[start:end]:
        return False
    return not (start and (text[start - 1].isalnum() or text[start - 1] in "_-")) and is_drawn(text, start, end)


PREFIXED = (
    "ATATT3|dckr_pat_|figd_|gsk_|glsa_|glc_|ntn_|pul-|rubygems_|sntrys_|xkeysib-|xai-|r8_|pplx-|tvly-|PMAK-|pscale_tkn_|sgp_"
    "|shippo_live_|CFPAT-"
)
"""How keys to Atlassian, Docker, Figma, Groq, Grafana (two), Notion, Pulumi, RubyGems, Sentry, Brevo, xAI, Replicate, Perplexity,
Tavily, Postman, PlanetScale, Sourcegraph, Shippo and Contentful begin."""

# Amazon, GitHub, GitLab, Slack, Stripe, Google, OpenAI and Anthropic, Hugging Face, npm, PyPI, SendGrid, Twilio, Mailgun, Telegram,
# Discord, DigitalOcean, Shopify, Databricks, Square, Vault, Linear, Doppler, Azure storage, age, JSON web tokens.
SHAPES = (
    (r"(?:AKIA|ASIA|ABIA|ACCA)[A-Z2-7]{16}", ("akia", "asia", "abia", "acca")),
    (r"gh[pousr]_[A-Za-z0-9]{36,255}", ("ghp_", "gho_", "ghu_", "ghs_", "ghr_")),
    (r"github_pat_[A-Za-z0-9_]{60,120}", ("github_pat_",)),
    (r"gl(?:pat|dt|rt|ptt|cbt|ft|soat)-[\w-]{20,80}", ("glpat-", "gldt-", "glrt-", "glptt-", "glcbt-", "glft-", "glsoat-")),
    (r"xox[abeoprs]-\d{8,14}-[A-Za-z0-9-]{10,120}|xapp-\d-[A-Za-z0-9-]{20,150}", ("xox", "xapp-")),
    (r"https://hooks\.slack\.com/(?:services|workflows)/T\w{6,12}/\w{6,14}/\w{16,40}", ("https://hooks.slack.com/",)),
    (r"(?:sk|rk)_(?:live|test)_[A-Za-z0-9]{16,120}|whsec_[A-Za-z0-9+/]{24,64}", ("sk_live_", "sk_test_", "rk_live_", "rk_test_", "whsec_")),
    (r"AIza[\w-]{35}|GOCSPX-[\w-]{28}|ya29\.[\w-]{30,250}", ("aiza", "gocspx-", "ya29.")),
    (r"sk-(?:proj-|svcacct-|admin-|ant-[a-z]{2,8}\d\d-)[\w-]{32,200}|sk-[A-Za-z0-9]{32,64}", ("sk-",)),
    (r"hf_[A-Za-z0-9]{30,40}", ("hf_",)),
    (r"npm_[A-Za-z0-9]{36}", ("npm_",)),
    (r"pypi-AgE[\w-]{50,250}", ("pypi-age",)),
    (r"SG\.[\w-]{22}\.[\w-]{43}", ("sg.",)),
    (r"[SA](?<![\w-].)(?:(?<=S)K|(?<=A)C)[0-9a-f]{32}", ()),
    (r"key-[0-9a-f]{32}", ("key-",)),
    (r"\d{8,10}:AA[\w-]{33}", (":aa",)),
    (r"[MNO](?<![\w-].)[\w-]{23,27}\.[\w-]{6}\.[\w-]{27,40}", ()),
    (r"do[opr]_v1_[0-9a-f]{64}", ("doo_v1_", "dop_v1_", "dor_v1_")),
    (r"shp(?:at|ca|pa|ss)_[0-9a-fA-F]{32}", ("shpat_", "shpca_", "shppa_", "shpss_")),
    (r"dapi[0-9a-f]{32}", ("dapi",)),
    (r"sq0(?:atp|csp)-[\w-]{22,43}|EAAA[\w-]{60}", ("sq0", "eaaa")),
    (r"hv[sbr]\.[\w-]{24,120}|lin_api_[A-Za-z0-9]{40}|dp\.pt\.[A-Za-z0-9]{40,44}", ("hvs.", "hvb.", "hvr.", "lin_api_", "dp.pt.")),
    (rf"(?:{PREFIXED})[A-Za-z0-9_=-]{{24,200}}", tuple(PREFIXED.lower().split("|"))),
    (r"AccountKey=(?P<value>[A-Za-z0-9+/]{86}==)", ("accountkey=",)),
    (r"AGE-SECRET-KEY-1[0-9A-Z]{58}", ("age-secret-key-",)),
    (r"eyJ(?<![\w-]...)[\w-]{10,500}\.eyJ[\w-]{10,2000}\.[\w-]{20,700}", ("eyj",)),
)
PREFIXES = tuple(hint for _, hints in SHAPES for hint in hints)
"""How keys begin that tell whose they are, in small letters: public, and the same in everybody's key."""
API_KEY = tuple(Pattern(re.compile(rf"(?:{shape})(?![A-Za-z0-9_-])"), is_key, hints) for shape, hints in SHAPES)

NAMED = re.compile(
    r"(?:api[_-]?key|api[_-]?secret|access[_-]?key|encryption[_-]?key|secret|token|passw(?:or)?d|pwd|passwort|contraseña)"
    r"[a-z0-9_.-]{0,20}\\?[\"']?\]?\s{0,3}(?:=>|:=|[:=>]|(?<= )(?:is|was|es|ist|est|era|lautet)(?= ))\s{0,3}(?:\\?(?P<quote>[\"']))?"
    # Between quotes all but a blank belongs to it; else an ampersand or a semicolon does unless another parameter follows.
    r"(?P<value>(?(quote)[^\s\"'\\]{8,200}(?=[\"'\\])|(?:[^\s\"'<>,;(){}\[\]&|]|[&;](?![a-z_][\w. -]{0,30}=|\s|$)){8,200}(?<![.:])))"
)
IN_URL = re.compile(r"://[^\s:/@\"'<>]{0,60}:(?P<value>[^\s/@\"'<>]{8,100})@[\w.-]")
RUNS = re.compile(r"[a-z]+|[A-Z]+|\d+|[^A-Za-z\d]")
PLACEHOLDER = re.compile(r"(?i)your|example|change|replace|redacted|placeholder|x{4}|\*{3}|\.{3}|1234567|^[/$%]|://")


def is_secret(text: str, start: int, end: int) -> bool:
    """Whether a value looks made by chance or as a password: letters and digits that keep changing, not a name, a path or a stand-in."""
    value = text[start:end]
    if is_chosen(text, start, end):
        return True
    if PLACEHOLDER.search(value) or entropy(value) < 2.7 or "publickey" in before(text, start, 20).lower():
        return False
    runs = RUNS.findall(re.sub(r"[_.-]", "", value))
    numbers = sum(run.isdigit() for run in runs)
    if not numbers or numbers == len(runs):
        return False
    return (numbers > 1 and len(runs) > 3) or (len(runs) > 3 and any(run in "!@#$%^&*+=?~" for run in runs)) or _is_mixed(value, runs)


def _is_mixed(value: str, runs: list[str]) -> bool:
    """Letters that change between large and small at every second place; the words of a name are longer."""
    return len(value) >= 16 and len(value) / len(runs) < 2.4


PASSWORD = re.compile(
    r"(?i)(?:passw(?:or)?d|pwd|passwort|contraseña)\\?[\"']?\]?\s{0,3}(?:=>|:=|[:=>]|is|was|es|ist|est|era|lautet)\s{0,3}\\?[\"']?$"
)
CHOSEN = re.compile(r"(?=.*[A-Z!@#$%^&*?+~])[A-Za-z]{3,20}[!@#$%^&*?+~_-]?\d{1,8}[!@#$%^&*?+~]{0,4}$")
NAME = re.compile(r"(?i)pass|pwd|secret|token|hash|field|input|text|your|example|change|sha\d|base64|version")
"""What the name of a variable or a stand-in holds, not a password."""


def is_chosen(text: str, start: int, end: int) -> bool:
    """Whether it is a word and a number right after a name for a password, and no name of a variable, a type or a function."""
    value = text[start:end]
    if not CHOSEN.match(value) or NAME.search(value) or text[end : end + 1] in ("(", "[", "."):
        return False
    return PASSWORD.search(before(text, start)) is not None


SECRET = (
    Pattern(NAMED, is_secret, lowered=True),
    Pattern(IN_URL, is_secret),
)

HEAD = r"-----BEGIN (?:[A-Z]{2,10} ){0,2}PRIVATE KEY(?: BLOCK)?-----"
# Between two lines of a key: the end of the line as it is or escaped, and what a string in source code or a quoted mail adds.
GAP = r"(?:\\[rnt]|\s(?:[bru]{1,2}(?=[\"']))?|[\"'](?: {0,3}[+.&](?=\s))?|[,;>|#*()\\]|//(?=\s)){1,40}"
BASE64 = "[A-Za-z0-9+/=]"
LINE = r"(?:\r?\n|\\n)[ \t>|#*\"']{0,12}"
HEADERS = rf"(?:{LINE}[A-Za-z-]{{2,20}}: [^\n\\]{{0,200}}){{0,6}}"
FULL = rf"{GAP}{BASE64}{{40,8192}}(?:{GAP}{BASE64}{{40,200}}){{0,400}}"
TAIL = rf"(?:{GAP}{BASE64}{{1,39}}){{0,2}}{GAP}-----END [A-Z ]{{0,24}}PRIVATE KEY(?: BLOCK)?-----"
CLIPPED = rf"{LINE}{BASE64}{{1,39}}(?![^\r\n\\\"'])"
PRIVATE_KEY = (Pattern(re.compile(rf"{HEAD}{HEADERS}{FULL}(?:{TAIL}|{CLIPPED})?"), always, ("private key",)),)
"""A clipped block, whose end is missing, counts too."""
