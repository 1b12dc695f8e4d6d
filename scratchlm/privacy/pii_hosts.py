"""Where a machine is reached: IP addresses, those of the whole internet and those of one house."""

import ipaddress
import re
from collections.abc import Callable

from scratchlm.privacy.pii_pattern import Pattern, before

PRIVATE = tuple(
    map(ipaddress.ip_network, ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10", "169.254.0.0/16", "fc00::/7", "fe80::/10"))
)
"""Ranges for use within one house. Loopback, netmasks, multicast and the like are the same on every machine and are no one's."""
EXAMPLES = tuple(map(ipaddress.ip_network, ("192.0.2.0/24", "198.51.100.0/24", "203.0.113.0/24", "2001:db8::/32")))
PRODUCT = re.compile(
    r"(?i)(?<![a-z])(?:ios|ipados|macos|mac os x|os x|tvos|watchos|android|windows"
    r"|ubuntu|debian|fedora|centos|rhel|solaris|aix|junos|fortios|pan-os|routeros|esxi|vsphere"
    r"|python|java|jdk|jre|openjdk|php|ruby|perl|golang|gcc|clang|node(?:\.js)?|npm|oracle|mysql|postgres(?:ql)?"
    r"|mariadb|sql server|db2|sqlite|mongodb|chrome|chromium|firefox|safari|edge|opera|acrobat|reader|flash player|itunes|xcode|skype|zoom"
    r"|outlook|exchange|office|matlab|autocad|unity|unreal"
    r"|cuda|cudnn|bios|uefi|directx|opengl|tomcat|weblogic|websphere|openssl|openssh|bootloader|plug-?in) $"
)
"""What has a version of four numbers."""
RELEASED = re.compile(
    r"(?i) ?\(?(?:build|beta|alpha|rc ?\d|release|update|patch|hotfix|sp ?\d"
    r"|final|stable|lts|or (?:later|newer|higher|above)|and (?:later|newer))\b"
    r"|-\d{1,3}(?:[._+~-]?(?:el|fc|mga|amzn|ubuntu|deb|bpo|noarch|x86|i\d86|amd64|arm|rpm|build|snapshot)|_|\+)|[+~][a-z]|\.(?:rpm"
    r"|deb|zip|tar|exe|msi|jar|dmg|apk)\b"
)
PARTS = (
    "v ver vers version versie fassung ausgabe versión versão versione wersj[aięą] версия firmware release build driver patch update"
    " revision rev hotfix"
    " upgrade section sections clause chapter article rule oid kernel table figure appendix annex paragraph requirement part step"
    " level sprint milestone"
    " abschnitt kapitel kap ziffer absatz anhang punkt tabelle abbildung abb norm artikel stufe meilenstein treiber paragraf sección"
    " apartado artículo"
    " párrafo capítulo anexo cláusula punto tabla figura norma paragraphe chapitre article annexe alinéa tableau étape point"
    " capitolo paragrafo articolo"
    " allegato comma tabella capoverso hoofdstuk paragraaf lid bijlage onderdeel tabel rozdział rozdziale rozdziału ustęp ust pkt"
    " punkcie załącznik"
    " sekcja tabela rysunek seção secção parágrafo artigo cap art par sect ch fig tab pt item issue task exercise exercice aufgabe"
    " ejercicio esercizio theorem lemma lesson module unit paket paquet paquete pacchetto pakiet pakket"
)
"""What is numbered by outline or by release, in eight languages."""
VERSION = re.compile(
    rf"(?i)(?:(?<![a-z])(?:{'|'.join(PARTS.split())})s?"
    r"(?:(?: (?:no|nr|number|is|was|to|de|of|der))?[\s.:=#\"'(]{0,4})|version\W{1,4}|[a-z]/|[a-z]-|==|>=|~=|§{1,2} ?)$"
)
CHANGED = re.compile(
    r"(?i)(?:bump|upgrad|updat|downgrad|migrat|releas|aktualisi|mise à jour|actualiz|aggiorn|bijgewerkt|atualiz|zaktualiz)[^\n;]{0,40}$"
)
"""A change from one version to another, on the same line."""
ADDRESSED = re.compile(
    r"(?i)(?<![a-z])(?:ip|addr|address|host|server|from|dns|ping|client|peer|at|port|[\w-]{0,20}_ip)\b[^\n]{0,20}$|[@/\[]$"
)
BESIDE = re.compile(
    r"(?i)(?<![a-z])(?:ips?|ipv4|i\.p|addr(?:ess(?:es)?)?|adress[ea]?n?|indirizz[oi]|direcci[oó]n|endere[cç]o|adresem"
    r"|[\w-]{0,20}host(?:s|name)?"
    r"|[\w-]{0,20}servers?|servidor|serveur|serwer|serwera|router|routeur|roteador|enrutador|ruter|switch|gateway|gw|passerelle|brama"
    r"|bramk[ai]|dns|dhcp\w*"
    r"|ping|pings?|telnet|ssh|scp|rsync|curl|wget|https?|tcp|udp|s?ftp|smb|nfs|nas|vpn|wireguard|w?lan|wan|vlan|wi-?fi|subnet|netmask"
    r"|netz\w{0,8}"
    r"|heimnetz|network|réseau|red|rete|rede|netwerk|sieci|sieć|eth\d|wlan\d|en[ops]\d\w*|tun\d|tap\d|br\d|br-lan|docker\d?|login"
    r"|connect\w*|verbind\w*"
    r"|listen\w*|bind|proxy|firewall|iptables|nmap|traceroute|node|knoten|cluster|printer|drucker|imprimante|impresora|stampante"
    r"|impressora|drukark[ai]"
    r"|cam|camera|kamer[aęy]|cámara|caméra|câmera|telecamera|peer|clients?|remote|rechner|ordinateur|ordenador|computer|komputer|pc"
    r"|machine|laptop|desktop"
    r"|inet|routes?|route|hops?|relay|mx|smtp|imap|received|src|dst|source|dest|from|raspberry|pi|esp\d*|esxi|vms?|container|pods?"
    r"|endpoint|upstream"
    r"|backend|nameserver|resolver|reachable|unreachable|erreichbar|reagiert|antwortet|responding|respond[es]?|répond|risponde"
    r"|offline|online|browser|port|porta|puerto|poort"
    r"|web(?:ui| ?interface)|fileserver|dvr|nvr|ap|modem|box|fritz!?box|device|gerät|appareil|dispositivo|apparaat|urządzeni[ea]"
    r"|[\w-]{0,20}_ip)(?![a-z])"
)
"""Words about machines in one house."""
STRONG_BEFORE, STRONG_AFTER = (
    re.compile(r"[@/\[\"'`=]$|(?<!\w)--?[a-z][\w-]{0,12}[ =]$|[a-z] ?(?:->|=>|→) $"),
    re.compile(r":[\d/]|/\d|[\"'`]|%|\)? (?:dev|via|metric|netmask|mask|port)\b"),
)
LOGGED = re.compile(r" \S{1,40} \S{1,40} \[\d")
"""User and time in the log of a web server."""
RESOLVERS = frozenset(("8.8.8.8", "8.8.4.4", "1.1.1.1", "1.0.0.1", "9.9.9.9"))


def address_of(value: str) -> str | None:
    """``public``, ``private``, or None for what is no address or belongs to no machine. Ranges for examples count as public."""
    try:
        address = ipaddress.ip_address(value)
    except ValueError:
        return None
    if value.endswith("::"):
        return None
    if any(address in network for network in PRIVATE):
        return None if address.version == 4 and value.endswith((".0", ".255")) else "private"
    meant = address.is_global and not address.is_multicast
    return "public" if meant or any(address in network for network in EXAMPLES) else None


NETWORK = re.compile(r"/\d{1,3}(?!\d)")


def is_network(text: str, start: int, end: int) -> bool:
    """Whether a prefix length follows and the address has no bits beyond it, as in 10.0.0.0/8; one with /32 is a machine's."""
    prefix = NETWORK.match(text, end)
    try:
        return prefix is not None and ipaddress.ip_network(text[start : prefix.end()]).num_addresses > 1
    except ValueError:
        return False


def is_small(value: str) -> bool:
    """Whether the four numbers might count versions or chapters: three of them are below 30."""
    parts = [int(part) for part in value.split(".")]
    return parts[0] < 30 and sum(part < 30 for part in parts) > 2


def has_machine(text: str, start: int, end: int) -> bool:
    """Whether a port, a quote or a word about machines stands beside, two more addresses of the same subnet, or one that is no version."""
    if STRONG_AFTER.match(text, end) or STRONG_BEFORE.search(before(text, start, 16)):
        return True
    if BESIDE.search(before(text, start, 80).rpartition("\n\n")[2]) or BESIDE.search(text[end : end + 60].partition("\n\n")[0]):
        return True
    around = text[max(0, start - 150) : end + 150]
    others = {other.group() for other in FOUR.finditer(around)} - {text[start:end]}
    subnet = text[start : text.rindex(".", start, end) + 1]
    return sum(other.startswith(subnet) for other in others) > 1 or any(not is_small(other) and address_of(other) for other in others)


def ipv4(reach: str) -> Callable[[str, int, int], bool]:
    """Whether four numbers are an address of that reach, and not a version, a section or an outline: those are small and stand alone."""

    def meant(text: str, start: int, end: int) -> bool:
        value, lead = text[start:end], before(text, start, 60)
        if address_of(value) != reach or is_network(text, start, end) or VERSION.search(lead) or RELEASED.match(text, end):
            return False
        if int(value.partition(".")[0]) < 100 and PRODUCT.search(lead):
            return False
        if not is_small(value) and not (reach == "public" and value.endswith(".0")):
            return True
        if CHANGED.search(lead.rpartition("\n")[2]):
            return False
        if reach == "private":
            return int(value.rpartition(".")[2]) > 99 or has_machine(text, start, end)
        outline = lead[-1:] in ("", "\n") and text[end : end + 2].lstrip(" ").istitle()
        if not outline and value in RESOLVERS:
            return True
        return text.startswith(":", end) or bool(LOGGED.match(text, end) or ADDRESSED.search(lead[-30:]))

    return meant


def ipv6(reach: str) -> Callable[[str, int, int], bool]:
    """Whether it is an address of that reach, and not a slice such as x[2000::2]."""

    def meant(text: str, start: int, end: int) -> bool:
        if (
            PORTED.search(text[start:end])
            and BOUND.search(before(text, start, 40))
            and address_of(text[start : text.rindex(":", start, end)])
        ):
            return False  # its last group is a port: what stands before that is looked for on its own
        sliced = text[start - 1 : start] == "[" and text[max(0, start - 2) : start - 1].isalnum()
        if text.count(":", start, end) == 7 and end - start < 7 + 8 * 2.5:
            return False  # eight pairs are the number of a disc or a part of a fingerprint
        return not sliced and address_of(text[start:end]) == reach and not is_network(text, start, end)

    return meant


FOUR = re.compile(r"[0-9](?<![\w.].)[0-9]{0,2}(?:\.[0-9]{1,3}){3}(?!\w|\.[0-9]|-[A-Za-z])")
FREE = r"(?:(?<![\w:.].)|(?<=[g-z]:.)|(?<=[pvdtPVDT]6:.)|(?<=[g-z][a-z]:.)|(?<=[g-z][a-z]{2}:.))"
"""What may stand before: also a word and a colon, as in "ip6:"."""
HEX = r"(?::[0-9a-fA-F]{0,4}){2,7}"
END6 = r"(?![\w:])"
SERVICES = (
    "22|25|53|80|110|143|179|389|443|465|587|636|853|873|993|995|1194|1883|3000|3306|3389|5000|5432|5060"
    "|5353|6379|8000|8008|8080|8081|8443|8883|8888|9000|9090|9200|11211|27017|51820"
)
PORTED = re.compile(f"::[0-9a-fA-F:]{{0,30}}:(?:{SERVICES})$")
BOUND = re.compile(r"(?i)(?:bind|listen\w*|server|connect\w*|upstream|endpoint|peer|proxy_pass|backend|addr(?:ess)?)\b[\s:=\"']{0,3}$")
"""Where a port often follows without brackets."""
# Eight groups of mostly three or four digits are unmistakable, whatever range they are from.
EIGHT = r"[0-9a-fA-F](?<![\w:.].)[0-9a-fA-F]{0,3}(?::[0-9a-fA-F]{1,4}){7}(?![\w:])"
PUBLIC, HOUSE = r"[23]" + FREE + "[0-9a-fA-F]{3}", r"[fF]" + FREE + "(?:[cCdD][0-9a-fA-F]{2}|[eE][89abAB][0-9a-fA-F])"
IPV4, IPV4_PRIVATE = (Pattern(FOUR, ipv4("public")),), (Pattern(FOUR, ipv4("private")),)
IPV6 = (
    Pattern(re.compile(PUBLIC + HEX + END6), ipv6("public")),
    Pattern(re.compile(PUBLIC + HEX + rf"(?=:(?:{SERVICES}){END6})"), ipv6("public"), ("::",), BOUND),
    Pattern(re.compile(EIGHT), ipv6("public")),
)
IPV6_PRIVATE = (
    Pattern(re.compile(HOUSE + HEX + END6), ipv6("private"), ("f",)),
    Pattern(re.compile(HOUSE + HEX + rf"(?=:(?:{SERVICES}){END6})"), ipv6("private"), ("::",), BOUND),
)
