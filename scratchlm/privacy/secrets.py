"""Keys to somebody's account by the shapes that their issuers publish, and private key blocks.

Every shape of a key holds a part that is drawn at random; a part that repeats a few letters or counts them up is a placeholder.
"""

import math
import re
from collections import Counter

from scratchlm.privacy.pii_pattern import Pattern, always, before


def entropy(value: str) -> float:
    """Bits per character, from the counts of the characters in it."""
    counts = Counter(value).values()
    return -sum(count / len(value) * math.log2(count / len(value)) for count in counts)


HANDBOOK = re.compile(
    "EXAMPLE|(?i:your|placeholder|x{6}|abcdefghij|0123456789|1234567890)|4eC39HqLyjWDarjtT1zdp7dc|BQokikJOvBiI2HlWgH4olfQ2"
    "|flKxwRJSMeKKF2QT4fwpM"
)
"""Parts of the keys that handbooks show."""
ESCAPED = (r"\n", r"\r", r"\t", "%3D", "%3d", "%22", "%20", "%3A", "%3a", "/bot")
"""What ends in a letter and yet parts a key from what stands before it: line ends in a string, signs in a URL, Telegram's path."""


def is_key(text: str, start: int, end: int) -> bool:
    """Whether it begins where a word begins, goes to its end, is drawn at random and is not the one from the issuer's own handbook."""
    if HANDBOOK.search(text[start:end]) or text.startswith(("...", "…"), end):
        return False
    joined = start and (text[start - 1].isalnum() or text[start - 1] in "_-") and not before(text, start, 4).endswith(ESCAPED)
    return not joined and entropy(text[max(start, end - 20) : end]) > 2.7


WORD, HEX, DASHED = r"[A-Za-z0-9]", "[0-9a-f]", r"(?=[A-Za-z_-]{0,40}\d)[\w-]"
"""Letters of a key; those with dashes hold a number too, which names of variables seldom do."""
UUID = "[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"
BEGUN = (
    ("AKIA ASIA ABIA ACCA", "[A-Z0-9]{16}"),
    ("ABSK", "[A-Za-z0-9+/]{100,269}={0,2}"),
    ("LTAI AKID", f"(?=[A-Za-z]{{0,20}}\\d){WORD}{{16,32}}"),
    ("ghp_ gho_ ghu_ ghs_ ghr_", f"{WORD}{{36,255}}"),
    ("github_pat_", r"\w{60,120}"),
    (
        "glpat- gldt- glrt- glptt- glcbt- glft- glsoat- glffct- glimt- glagent- gloas- GR1348941",
        r"[\w-]{20,300}(?:\.[0-9a-z]{2}\.[0-9a-z]{7,9}|\.[0-9a-z]{9})?",
    ),
    ("xox", r"[abeoprs]-(?:\d{8,14}|\d)-[A-Za-z0-9-]{10,200}|e\.xox[bp]-\d-[A-Za-z0-9]{100,200}"),
    ("xapp-", r"\d-[A-Za-z0-9-]{20,150}"),
    ("https://hooks.slack.com/", r"(?:services|workflows|triggers)/T\w{6,12}/\w{6,14}/\w{16,40}"),
    ("https://discord.com/api/webhooks/ https://discordapp.com/api/webhooks/", r"\d{17,20}/[\w-]{60,80}"),
    ("sk_live_ sk_test_ sk_prod_ rk_live_ rk_test_ rk_prod_", f"{WORD}{{16,120}}"),
    ("whsec_", "[A-Za-z0-9+/]{24,64}={0,2}"),
    ("AIza", r"[\w-]{35}"),
    ("GOCSPX-", r"[\w-]{28}"),
    ("ya29.", r"[\w-]{30,250}"),
    ("1//0", r"[\w-]{40,120}"),
    ("sk-", r"(?:proj-|svcacct-|admin-|ant-[a-z]{2,8}\d\d-|or-v1-|lf-)[\w-]{32,200}|[A-Za-z0-9]{32,64}"),
    ("hf_", f"{WORD}{{30,40}}"),
    ("npm_", f"{WORD}{{36}}"),
    ("pypi-AgE", r"[\w-]{50,250}"),
    ("SG.", r"[\w-]{22}\.[\w-]{43}"),
    ("key- pubkey-", f"{HEX}{{32}}"),
    ("doo_v1_ dop_v1_ dor_v1_", f"{HEX}{{64}}"),
    ("SK AC", f"{HEX}{{32}}"),
    ("sk_", f"{HEX}{{48}}"),
    ("shpat_ shpca_ shppa_ shpss_", "[0-9a-fA-F]{32}"),
    ("dapi", f"{HEX}{{32}}(?:-\\d)?"),
    ("sq0atp- sq0csp-", r"[\w-]{22,60}"),
    ("EAAA", r"[\w-]{60}"),
    ("EAAC EAAM EAAG EAAB", f"{WORD}{{100,300}}"),
    ("secret_", f"(?=[A-Za-z]{{0,30}}\\d){WORD}{{43}}"),
    ("oy2", "[a-z0-9]{43}"),
    ("hvs. hvb. hvr.", r"[\w-]{24,300}"),
    ("lin_api_ lin_oauth_", f"{WORD}{{40,64}}"),
    ("dp.", f"(?:pt|ct|st|sa|scim|audit)\\.(?:[a-z0-9_-]{{2,35}}\\.)?{WORD}{{40,44}}"),
    ("AccountKey= SharedAccessKey=", "(?P<value>[A-Za-z0-9+/]{43}=|[A-Za-z0-9+/]{86}==)"),
    ("AGE-SECRET-KEY-1", "[0-9A-Z]{58}"),
    ("eyJ", r"(?<![\w-]...)[\w-]{10,500}\.eyJ[\w-]{10,2000}\.[\w-]{20,700}"),
    ("eyJrIjoi", "[A-Za-z0-9]{60,400}={0,2}"),
    ("access-sandbox- access-development- access-production- pat-na1- pat-eu1-", UUID),
    ("re_", f"{WORD}{{8}}_{WORD}{{20,32}}"),
    ("NRAK- NRII- NRJS- NRIQ- NRAA-", r"[A-Za-z0-9-]{19,36}"),
    ("dt0c01.", r"[A-Z0-9]{24}\.[A-Z0-9]{64}"),
    ("pat", rf"{WORD}{{14}}\.{HEX}{{64}}"),
    ("EZAK EZTK", f"{WORD}{{54}}"),
    ("AKCp cmVmd", f"{WORD}{{59,73}}"),
    ("FLWSECK_TEST- FLWSECK-", f"{WORD}{{12,40}}(?:-X)?"),
    ("oauth:", "(?=[a-z]{0,20}\\d)[a-z0-9]{30}"),
    ("ops_eyJ", "[A-Za-z0-9+/]{100,2000}={0,2}"),
    ("A3-", r"[A-Z0-9]{6}(?:-[A-Z0-9]{5,11}){4,5}"),
    ("sha256~", r"[\w-]{43}"),
    ("API-", "(?=[A-Z]{0,20}[0-9])[A-Z0-9]{26}"),
    ("fo1_ fm1r_ fm1a_ fm2_", "[A-Za-z0-9+/_-]{43,600}={0,3}"),
    ("cio npm-", f"(?=[a-z]{{0,16}}\\d){WORD}{{32}}"),
    ("sl.", r"(?=[A-Za-z_-]{0,40}\d)[\w-]{130,160}"),
    ("tskey-", f"(?:api|auth|client|scim|webhook)-{WORD}{{10,20}}-{WORD}{{20,40}}"),
    ("sbp_ squ_ sqp_ sqa_ shippo_live_ shippo_test_ pul- rubygems_", f"{HEX}{{40,48}}"),
    ("duffel_live_ duffel_test_ fio-u- dnkey- tk-us- tfp_ AQVN y0_ pscale_tkn_ pscale_pw_ pscale_oauth_", f"{DASHED}{{35,90}}"),
    (
        "ATATT3 ATCTT3 ATBB HRKU-AA nfp_ dckr_pat_ dckr_oat_ figd_ CFPAT- PMAK- xkeysib- xsmtpsib- ntn_ CCIPAT_",
        f"{DASHED}{{24,260}}(?:=[0-9A-F]{{8}})?",
    ),
    ("glsa_ glc_ sntrys_ sntryu_ lsv2_pt_ lsv2_sk_ pcsk_ tgp_v1_ rdme_ CLOJARS_ bkua_ sgp_ phx_ v1.0-", f"{DASHED}{{24,400}}={{0,2}}"),
    ("gsk_ xai- r8_ pplx- tvly- csk- rpa_ pnu_ ico- p8e- sm_aat_ sm_pat_ sm_sat_ ATTA", "(?=[A-Za-z-]{0,24}\\d)[A-Za-z0-9-]{16,100}"),
)
"""How keys begin, and how they go on. Amazon (two), Alibaba and Tencent, GitHub (two), GitLab, Slack (three), Discord, Stripe (two),
Google (four), OpenAI, Anthropic and others, Hugging Face, npm, PyPI, SendGrid, Mailgun, DigitalOcean, Twilio, ElevenLabs, Shopify,
Databricks, Square (two), Facebook, Notion, NuGet, Vault, Linear, Doppler, Azure, age, JSON web tokens, Grafana, Plaid and HubSpot, Resend,
New Relic, Dynatrace, Airtable, EasyPost, JFrog, Flutterwave, Twitch, 1Password (two), OpenShift, Octopus, Fly, crates.io, Dropbox,
Tailscale, and last those that go on alike."""
INSIDE = (
    (r":AA[\w-]{33}", r"\d{8,10}$", (":aa",)),
    (r"\.[\w-]{6}\.[\w-]{27,40}", r"(?<![\w-])[MNO][\w-]{23,27}$", (".",)),
    (r"\dQ~[\w.~-]{31,34}", r"[\w.~]{3}$", ("q~",)),
    (r"-us\d{1,2}", "(?<![0-9a-f])[0-9a-f]{32}$", ("-us",)),
    (r"\.atlasv1\.[\w=-]{60,70}", rf"(?<!\w){WORD}{{14}}$", (".atlasv1.",)),
    ("_mmk", rf"(?<!\w){WORD}{{6}}_{WORD}{{29}}$", ("_mmk",)),
    (r"\$production\$[0-9a-z]{16}\$[0-9a-f]{32}", r"access_token$", ("$production$",)),
    (
        r"\.webhook\.office\.com/webhookb2/[\w@-]{60,90}/IncomingWebhook/[0-9a-f]{32}/[0-9a-f-]{36}",
        r"https://[a-z0-9]{1,40}$",
        ("webhookb2",),
    ),
)
"""Telegram, Discord, Azure, Mailchimp, Terraform, MaxMind, PayPal, Teams: what is rare in them, what stands before it, and hints."""
END = r"(?![A-Za-z0-9_-])"
PREFIXES = tuple(prefix.lower() for prefixes, _ in BEGUN for prefix in prefixes.split())
"""How keys begin that tell whose they are, in small letters: public, and the same in everybody's key."""
API_KEY = (
    *(
        Pattern(re.compile(f"{re.escape(prefix)}(?:{tail}){END}"), is_key, (prefix.lower(),))
        for prefixes, tail in BEGUN
        for prefix in prefixes.split()
    ),
    *(Pattern(re.compile(shape + END), is_key, hints, left=re.compile(lead)) for shape, lead, hints in INSIDE),
)

HEAD = r"-----BEGIN (?:[A-Z]{2,10} ){0,2}PRIVATE KEY(?: BLOCK)?-----"
# Between two lines of a key: the end of the line as it is or escaped, and what a string in source code or a quoted mail adds.
GAP = (
    r"(?:\\[rnt]|\s(?:[bru]{1,2}(?=[\"']))?|[\"'](?: {0,3}[+.&](?=\s))?|[,;>|#*()\\]|//(?=\s)"
    r"|<(?:br ?/?|wbr|/?(?:p|div|span|code))>|&(?:#1[03]|#x[AaDd]|nbsp|gt);|\\u000[aAdD]|%0[AaDd]){1,40}"
)
BASE64 = "[A-Za-z0-9+/=]"
LINE = r"(?:<br ?/?>)?(?:\r?\n|\\n|(?<=>))[ \t>|#*\"']{0,12}"
HEADERS = rf"(?:{LINE}[A-Za-z-]{{2,20}}: [^\n\\]{{0,200}}){{0,6}}"
FULL = rf"{GAP}{BASE64}{{40,8192}}(?:{GAP}{BASE64}{{40,200}}){{0,400}}"
TAIL = rf"(?:{GAP}{BASE64}{{1,39}}){{0,2}}{GAP}-----END [A-Z ]{{0,24}}PRIVATE KEY(?: BLOCK)?-----"
CLIPPED = rf"{LINE}{BASE64}{{1,39}}(?![^\r\n\\\"'])"
PRIVATE_KEY = (Pattern(re.compile(rf"{HEAD}{HEADERS}{FULL}(?:{TAIL}|{CLIPPED})?"), always, ("private key",)),)
"""A clipped block, whose end is missing, counts too."""
