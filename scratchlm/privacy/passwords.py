"""Secrets by the name that stands before them: passwords, tokens and keys in settings, source code, commands, URLs and prose.

After a name for a password stands what people choose ("Summer2024", "hunter2horse") or what a generator draws; after a name for a key or
a token only what is drawn counts. Words alone tell nobody from prose and stay, except where four of them are joined by hyphens or stand in
quotes after "passphrase". What a writer of a handbook puts there ("changeme", "your-token", ``${PASSWORD}``) and what a program reads
there (a variable, a call, a path, a type, the time of expiry) is no secret.
"""

import base64
import binascii
import re

from scratchlm.privacy.pii_pattern import Pattern, before
from scratchlm.privacy.secrets import entropy

RUNS = re.compile(r"[A-Z]?[a-zß-ÿ]+|[A-ZÀ-Þ]+|\d+|[^\W\d_]|.", re.DOTALL)
"""Words, numbers and marks, each on its own."""
MARKS = "!@#$%^&*?+~=;:,()"
STAND_IN = re.compile(
    r"(?i)your|example|change|replace|redact|placeholder|masked|hidden|removed|insert|undefined|lorem|dummy|x{4}|\*{3}|\.{3}|…|\ufffd"
    r"|^[.x*_-]+$"
    r"|^\$\w*$|^%\w*%?$|^[{<]|^#\{|^&lt;|\$[{(]|\{\{|%[({]|%2f|%3d|%[sdrv]$|://|^1234567|^(?:arn|vault|env|file|enc|op|ref|urn|sops"
    r"|kms|sha\d*|md5|data|http)[:\[]|^\{"
    r"|^\$?(?:2[aby]|apr1|argon2\w*|pbkdf2\w*|scrypt|bcrypt|5|6)\$|^sha(?:1|256|384|512)-"
)
"""What handbooks and templates put for a value, where a value is to be read from, and hashes, which name themselves."""
NO_VALUE = re.compile(
    r"(?i)^\d+(?:[.,:/-]\d+)*[a-z%]?$|^\d+-[a-z]+$|\d{4}-\d\d-\d\d|\d:\d\d(?::\d\d)?|^v?\d+\.\d|^[\w.+-]+@[\w-]+\.[\w.]+$"
    r"|^[~.]{0,2}/[a-z._-]+(?:/|$)|^\.{1,2}/|^[\w.-]+:\d{2,5}$"
    r"|\.(?:txt|json|ya?ml|env|pem|key|crt|cer|php|py|js|ts|html?|xml|md|conf|cfg|ini|sh|db|kdbx|log|com|org|net|io|pw)$|\(\)|\[\d*\]"
)
"""Numbers, times, versions, addresses and files."""
SURE_NAMES = re.compile(
    r"(?i)pass|pwd|secret|token|hash|crypt|sha-?\d|md5|base64|base32|utf|ascii|encod|min:\d|\w\([\"']|config|oauth|aes\d|algo|credential"
    r"|self\.|this\.|abc123|qwerty$"
)
NAMES = re.compile(
    r"(?i)^(?=.*(?:field|input|text|version|value|param|arg|string|char|setting|user|login|name|valid|require|column|option|default"
    r"|prompt|label|button"
    r"|form|bytes|rsa|digit|none|null|true|false|test|data|resp|answer))[a-z_.|]+[\d|:]*$"
)
"""What the name of a variable, of a type or of a way to store passwords holds: the one anywhere, the other with a number at its end."""


UNSPOKEN = re.compile("(?i)[b-df-hj-np-tv-xz]{5}")
"""Consonants in a row that hardly a word has."""


def is_drawn(value: str) -> bool:
    """Whether it was drawn at random: letters and digits change at every second place, where words are longer and numbers few.

    Of small letters alone are drawn twenty and more with a digit among them that nobody could speak.
    """
    plain = re.sub(r"[_.-]", "", value)
    runs = RUNS.findall(plain)
    if len(value) < 8 or entropy(value) < 2.7 or not runs:
        return False
    numbers = sum(run.isdigit() for run in runs)
    if not numbers:
        return len(value) >= 16 and len(plain) / len(runs) < 2.2
    if numbers == len(runs):
        return False
    if len(plain) == len(value) >= 20 and len(UNSPOKEN.findall(value)) > len(value) // 40 and entropy(value) > 3.5:
        return True
    return len(plain) / len(runs) < (3 if len(value) > 19 else 2.6) or bool(re.fullmatch("[0-9a-f]{16,}|[0-9A-F]{16,}", plain))


def is_named(value: str) -> bool:
    """Whether it looks like the name of something."""
    return SURE_NAMES.search(value) is not None or NAMES.search(value) is not None


def is_wordy(value: str) -> bool:
    """Whether it holds a whole word and one of those that names hold."""
    return re.search("[a-z]{6}", value) is not None and is_named(value)


def is_key(text: str, start: int, end: int) -> bool:
    """Whether what a key or a token is said to be was drawn, and is neither a public one nor the name of something."""
    value = text[start:end]
    if STAND_IN.search(value) or NO_VALUE.search(value) or text[end : end + 1] in ("(", "["):
        return False
    return is_drawn(value) and not is_wordy(value) and "public" not in before(text, start, 24).lower()


def is_password(text: str, start: int, end: int) -> bool:
    """Whether what a password is said to be was drawn or chosen: letters with a number or a mark among them, and no name of something."""
    value = text[start:end]
    if STAND_IN.search(value) or NO_VALUE.search(value) or text[end : end + 1] in ("(", "["):
        return False
    return (is_drawn(value) and not is_wordy(value)) or is_chosen(
        value, quoted=text[start - 1 : start] in ("'", '"', "`"), after=text[end : end + 1]
    )


def is_chosen(value: str, *, quoted: bool, after: str) -> bool:
    """Whether people choose it for a password; ``after`` is the next letter, which tells the name of a variable in code."""
    if is_named(value) or not any(letter.isalpha() for letter in value):
        return False
    if re.fullmatch("[a-z]{3,10}(?:-[a-z]{3,10}){3,6}|[a-z]{2,10}(?:-[a-z]{2,10}){2,6}-[0-9]{1,4}", value):
        return True
    marked, numbered = any(letter in MARKS for letter in value), any(letter.isdigit() for letter in value)
    if not numbered:
        return marked and value[0].isupper() and value[-1] in "!#$%*+?" and value[:-1].isalpha()
    if marked or quoted:
        return "." not in value or marked
    lines_end = after in ("", "\n", "\r", "\\")
    if re.search(r"\w[._]\w" if lines_end else r"\w[._]\w|[a-z][A-Z]", value) and not re.search(
        r"^[A-Za-z]+[._-]\d+$|\d\d.*[^\d.].*\d|[a-z]\d[a-z]|^[A-Z]\d[a-z]", value
    ):
        return False
    return bool(lines_end or not value.islower() or re.search(r"\d[a-z]|\d{3}", value)) and len(value) > 6


def is_in_url(text: str, start: int, end: int) -> bool:
    """Whether what stands before the host of a URL is a password: no word of a handbook."""
    value = text[start:end]
    if STAND_IN.search(value) or re.search(r"(?i)pass(?:w(?:or)?d)?$|^pw?d?$|secret$|token$|^x-[a-z-]+$|^oauth2?$|^anonymous$", value):
        return False
    return not value.isalpha() or is_drawn(value)


def is_salt(text: str, start: int, end: int) -> bool:
    """Whether it is what WordPress draws for a key: letters, numbers and marks, blanks among them."""
    value = text[start:end]
    return not STAND_IN.search(value) and entropy(value) > 4.5 and value.count(" ") < 8


def is_typed(text: str, start: int, end: int) -> bool:
    """Whether what a command is told for a password is one: a dot may part two words of it when a number stands within a word."""
    value = text[start:end]
    if STAND_IN.search(value) or NO_VALUE.search(value) or is_named(value):
        return False
    return is_password(text, start, end) or re.search(r"[a-z]\d[A-Za-z]|\d[a-zA-Z]\d", value) is not None


def is_basic(text: str, start: int, end: int) -> bool:
    """Whether it encodes a name, a colon and a password."""
    try:
        plain = base64.b64decode(text[start:end] + "=" * (-(end - start) % 4), validate=True)
    except binascii.Error:
        return False
    return b":" in plain and all(32 <= byte < 127 for byte in plain)


NOT_SO = (
    r"(?![a-z0-9_.-]{0,20}(?:hash|digest|salt|expir|[_.-]at\b|date|time|ur[li]|path|file|dir\b|name|type|len|count|size|max|min|regex"
    r"|pattern|hint"
    r"|label|field|polic|format|algo|encod|version|manag|provider|class|limit|ttl|age\b|reset|arn\b|prefix|index|finger|public"
    r"|[_-]?id\b|cache|store\b))"
)
"""What a name that goes on so is about: not the secret itself."""
REST = r"[a-z0-9_.-]{0,20}"
LINK = "to|for|of|on|at|in|für|fürs|zum|zur|vom|von|im|am|del|della|dello|do|da|de|di|du|des|pour|para|por|al|per|voor|van|dla|till|til"
ABOUT = rf"(?: \([^()\n]{{1,30}}\))?(?: (?:{LINK})(?: [^\W_][\w'’./-]{{0,20}}){{1,4}}?(?: \([^()\n]{{1,30}}\))?)?"
"""What a secret opens: "the password for the guest wifi"."""
VERB = (
    "is|was|are|ist|lautet|war|est|es|era|è|é|jest|to|set to|are now|has been (?:changed|reset|set) to|changed to|reset to|blev|är|er|eller"
)
VERBS = rf" (?:{VERB})(?: (?:now|still|currently|just|jetzt|nun|ahora|maintenant|ora|teraz|nu|set to|as follows))?:? "
TYPED = r": ?[&a-z][\w'<>\[\]|?. ]{0,24}?\s?=|(?<=[\w\"']) (?:string|str) ?="
ASSIGNED = (
    rf"[ \t\xa0]{{0,20}}(?:{TYPED}|=>|:=|={{1,3}}|!={{1,2}}|\?=|\?:|\|\|=|: ?[|>]-?\r?\n|[:=>：＝]|→|[-=]>)"
    r"(?:[*_]{0,2}|</\w{1,6}>)\s{0,12}"
)
ATTRIBUTES = r"(?: [\w:.-]{1,20}=(?:\"[^\"\n<>]{0,90}\"|'[^'\n<>]{0,90}')){1,3}>"
VALUED = r"(?: [\w:.-]{1,20}=\"[^\"\n]{0,60}\")? value ?= ?"
CELL = r"(?:</\w{1,8}>\s{0,20}){1,2}<\w{1,8}[^<>\n]{0,40}>\s{0,3}|\s{0,12}\|\s{0,12}"
LISTED = (
    r"[\"'] ?,[ \t]{0,16}(?:default ?= ?)?(?=[\"'])|[\"'],\s{0,20}[\"']value[\"'] ?: ?"
    r"|[\"'] ?\{\s{1,20}(?:[^{}\n]{0,60}\n\s{0,12}){0,3}default\s{0,8}= ?|\r?\n[ \t]{0,20}value:[ \t]{0,5}"
)
CALLED = r"\((?=[\"'])| (?=[\"'])"
SIGN = (
    rf"(?:{LISTED}|[\\\"'`*\]]{{0,4}}(?:</\w{{1,6}}>)?(?:{ABOUT}(?:{ASSIGNED}|{VERBS})|{ATTRIBUTES}|{VALUED}|{CELL}|{CALLED}))"
    r"(?:<(?:code|b|tt|kbd|strong|string)>)?(?:[bfrul@]{1,2}(?=[\"']))?"
)
"""What stands between a name and its value in settings, source code, mark-up, tables and prose."""
BARE = r"(?:[^\s\"'`<>,;(){}\[\]&|\\]|[&;](?![a-z_][\w. -]{0,30}=|[a-z]{2,6};|[\s\"']|$)){6,200}(?<![.:])(?![\w-])"
VALUE = rf"(?P<quote>\\?[\"'`])?(?P<value>(?(quote)(?:(?!(?P=quote))[^\s\\]){{6,200}}(?=(?P=quote))|{BARE}))"
"""Between quotes all but a blank belongs to it; else an ampersand or a semicolon does unless another parameter follows."""

BEFORE_KEY = (
    "api access auth encryption encrypt signing sign crypt cipher master account storage shared client consumer app application server"
    " deploy session private service admin hmac jwt webhook subscription nonce logged_in secure backup license_signing restricted"
)
OF_SOMETHING = "|".join(f"(?<={word}{gap}key)" for word in BEFORE_KEY.split() for gap in ("", "[ _.-]"))
APART = r"(?<![^\W_]{stem})(?![^\W_])"
PASSWORDS = {
    "pass": r"(?<!bypass)(?<!compass)(?<!surpass)(?<!trespass)(?:w(?:or)?d|wort|phrase|code|ord|e(?![a-zà-ÿ])|(?![a-zà-ÿ]))",
    "pw": r"(?:(?<=rootpw)|(?<=bindpw)|(?<![^\W_]pw))(?![^\W_])",
    "contrase": "(?:ñ|n)a",
    "hasł": "[oa]",
    **{stem: APART.format(stem=stem) for stem in ("psk", "mdp", "clave", "haslo")},
    **dict.fromkeys(("pwd", "kennwort", "senha", "parola", "wachtwoord", "lösenord", "adgangskode", "heslo", "şifre"), ""),
    **dict.fromkeys(("пароль", "密码", "パスワード", "비밀번호"), ""),
}
KEYS = {"secret": "", "token": "(?!s|iz)", "key": f"(?:{OF_SOMETHING})", "credential": "(?!s)", "_auth": APART.format(stem="_auth")}
"""How names begin, in small letters, and how they must go on."""

BEFORE_BLANK = re.compile(
    r"(?i)(?:(?:^|[\s\"'`(])--?[a-z][\w-]{0,40}|[,;/](?: [^\W\d]\w{0,12})? \w{6,12}|\blogin \S{1,40}\s{1,4}password|requirepass"
    r"|(?:root|bind)pw|(?:^|\n)[ \t]{0,8}(?:wpa|wifi|wlan|ap|enable|username \S{1,30})[ -]\w{2,12}|\b(?:setenv|env|setx|set) [\w.-]{1,40}"
    r"|(?:with|using|use|and|mit|und|avec|et|con|y|com|met|en|e|z|i|or)(?: [^\W\d]\w{0,12}){0,2} \w{3,12}) {1,3}[\"']?$"
)
"""A flag of a command, a line of .netrc or "with the password": no sign stands between name and value."""
COMMAND = re.compile(
    r"(?:mysql\w*|mariadb\w*|sshpass|mongo\w*|login|twine|ftp|smbclient|7z|zip|unzip|unrar|htpasswd)\b[^\n|;]{0,60} -[A-Za-z]?p ?[\"']?$"
)
BASIC = re.compile(r"(?i)authorization[\\\"']{0,3}\s{0,3}[:=,]\s{0,3}\\?[\"']?basic $")


MIXED = re.compile(r"(?=\S*[A-Za-z])(?=\S*\d)(?=\S*[#!$%&*?^~@])(?![a-z]+#\d+$)\S{8,}")
"""Letters, numbers and marks: no prose goes on so."""


def is_told(text: str, start: int, end: int) -> bool:
    """Whether it is a password though no sign stands before it: a command or "with" leads it, or letters, numbers and marks are in it."""
    lead = before(text, start)
    if BEFORE_BLANK.search(lead) or (MIXED.fullmatch(text, start, end) and not lead.lower().endswith("pass ")):
        return is_password(text, start, end)
    return False


def named(stem: str, rest: str) -> list[Pattern]:
    """A name with a sign behind it, and one that commands and prose know with a blank only."""
    meant, name = (is_password if stem in PASSWORDS else is_key), f"{stem}{rest}{NOT_SO}{REST}"
    signed = Pattern(re.compile(f"{name}(?: (?:{NEW}))?{SIGN}{VALUE}"), meant, (stem,), lowered=True)
    if stem in PASSWORDS:
        return [signed, Pattern(re.compile(f"{name}(?: (?:{NEW}))? {{1,3}}{VALUE}"), is_told, (stem,), lowered=True)]
    if stem not in ("secret", "token", "key"):
        return [signed]
    return [signed, Pattern(re.compile(f"{name} {{1,3}}{VALUE}"), meant, (stem,), BEFORE_BLANK, lowered=True)]


NEW = (
    "temporary|provisoire|temporaire|provvisoria|temporanea|provisória|temporária|temporal|provisional|tymczasowe|tijdelijk|initial"
    "|initiale|iniziale"
    "|inicial|nueva|nuova|nova|nowe|actuelle?|attuale|actual|atual|aktualne"
)
"""What a password may be called behind its name."""
WIRELESS = (
    r"(?:(?:wlan|wi-?fi|wpa2?|netzwerk|network)[ _-]?(?:key|schlüssel|code)|(?:clé|chiave|klucz|llave|sleutel|code|código|codice|kod)"
    r" (?:d[eou]l? |de la |do |van (?:de |het )?)?(?:wlan|wi-?fi|wpa2?|réseau|red|rete|rede))"
)
SESSION = (
    r"(?:phpsessid|jsessionid|sessionid|asp\.net_sessionid|connect\.sid|laravel_session"
    r"|cookie2?: ?(?:[\w.%-]{1,40}=[^;\s]{1,99}; ?){0,4}[\w.-]{0,20}(?:sess|sid|auth)[\w.-]{0,12})="
)
SECRET = (
    *(pattern for stem, rest in {**PASSWORDS, **KEYS}.items() for pattern in named(stem, rest)),
    Pattern(
        re.compile(f"{WIRELESS}{SIGN}{VALUE}"), is_password, ("wlan", "wifi", "wi-fi", "wpa", "netzwerkschl", "network key"), lowered=True
    ),
    Pattern(re.compile(f"{SESSION}{VALUE}"), is_key, ("sessid", "sessionid", "cookie:", "cookie2:", ".sid=", "_session="), lowered=True),
    Pattern(re.compile(rf"snmp-server community {VALUE}"), is_password, ("snmp-server community ",), lowered=True),
    Pattern(re.compile(r"net user \S{1,40} (?P<value>\S{6,60})"), is_password, ("net user ",), lowered=True),
    Pattern(re.compile(r"echo [\"']?[\w.-]{1,40}:(?P<value>[^\s\"'|]{6,60})[\"']? ?\| ?(?:sudo )?chpasswd"), is_typed, ("chpasswd",)),
    Pattern(re.compile(r"://[^\s:/@\"'<>]{0,60}:(?P<value>[^\s/\"'<>]{6,100})@[\w.\[-]"), is_in_url),
    Pattern(re.compile(r"thin:[\w.-]{1,40}/(?P<value>[^\s/@\"'<>]{6,60})@"), is_in_url, ("thin:",)),
    Pattern(re.compile(r"basic (?P<value>[a-z0-9+/]{8,300}={0,2})(?![\w=])"), is_basic, ("basic ",), BASIC, lowered=True),
    Pattern(
        re.compile(rf"authorization[\\\"']{{0,3}}\s{{0,3}}[:=,]\s{{0,3}}\\?[\"']?\w{{2,12}} (?:token=)?{VALUE}"),
        is_key,
        ("authorization",),
        lowered=True,
    ),
    Pattern(re.compile(rf"bearer {VALUE}"), is_key, ("bearer ",), lowered=True),
    Pattern(
        re.compile(r"-(?:u|-user|-proxy-user)[ =]{0,2}[\"']?[\w.@+-]{1,60}:(?P<value>[^\s\"'`\\]{6,100})"), is_password, (" -u", "-user")
    ),
    Pattern(re.compile(r" -[A-Za-z]?p ?[\"']?(?P<value>[^\s\"'`\\]{6,100})"), is_typed, (" -",), COMMAND),
    Pattern(re.compile(r"htpasswd -[A-Za-z]{1,4} \S{1,60} \S{1,40} (?P<value>\S{6,60})"), is_password, ("htpasswd ",)),
    Pattern(
        re.compile(r":(?:543\d|6543|\*):[\w*-]{1,60}:[\w*.@-]{1,60}:(?P<value>[^\s:]{6,100})(?=\s|$)"),
        is_password,
        (":543", ":6543", ":*:"),
    ),
    Pattern(re.compile(r"_KEY'\s{0,2},\s{0,16}'(?P<value>[^'\n]{60,80})'"), is_salt, ("_key'",)),
    Pattern(re.compile(rf"identified by {VALUE}"), is_password, ("identified by",), lowered=True),
    Pattern(re.compile(rf"securestring {VALUE}"), is_password, ("securestring ",), lowered=True),
    Pattern(
        re.compile(
            rf"(?:cred(?:ential)?s|credenciales|credenziali|identifiants|zugangsdaten|anmeldedaten|inloggegevens"
            rf"|dane logowania)[^\n:=]{{0,20}}[:=]\s{{0,3}}[\"']?[\w.@+-]{{2,40}} ?[:/] ?{VALUE}"
        ),
        is_password,
        ("creds", "creden", "identifiants", "gsdaten", "dedaten", "inloggeg", "logowania"),
        lowered=True,
    ),
    Pattern(
        re.compile(rf"passphrase[\"'\]]{{0,2}}{ASSIGNED}(?P<quote>[\"'])(?P<value>[a-z]{{3,12}}(?: [a-z]{{3,12}}){{3,11}})(?=(?P=quote))"),
        lambda text, start, end: not re.search(r"\b(?:your|the|must|enter|please|is|for|and|key|passphrase)\b", text[start:end]),
        ("passphrase",),
        lowered=True,
    ),
)
