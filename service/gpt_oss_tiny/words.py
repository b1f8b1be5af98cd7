"""The things the corpus speaks of: names, places, numbers in words."""

from __future__ import annotations

from functools import cache
from pathlib import Path

from gpt_oss_tiny.draw import Words, held_out
from llm_server.harmony.encoding import FIRST_SPECIAL, token_bytes


def _listed(text: str) -> tuple[str, ...]:
    """The entries of a text that lists them, separated by bars or line ends."""
    return tuple(text.strip().replace("\n", "|").split("|"))


def _words(text: str) -> tuple[str, ...]:
    return tuple(text.split())


CAPITALS: dict[str, str] = dict(
    line.split(": ")
    for line in _listed("""
France: Paris|Germany: Berlin|Italy: Rome|Spain: Madrid|Portugal: Lisbon|Austria: Vienna|Switzerland: Bern
Belgium: Brussels|the Netherlands: Amsterdam|Denmark: Copenhagen|Sweden: Stockholm|Norway: Oslo|Finland: Helsinki
Iceland: Reykjavik|Ireland: Dublin|the United Kingdom: London|Poland: Warsaw|Czechia: Prague|Slovakia: Bratislava
Hungary: Budapest|Romania: Bucharest|Bulgaria: Sofia|Greece: Athens|Turkey: Ankara|Ukraine: Kyiv|Russia: Moscow
Estonia: Tallinn|Latvia: Riga|Lithuania: Vilnius|Croatia: Zagreb|Serbia: Belgrade|Slovenia: Ljubljana
Albania: Tirana|Malta: Valletta|Cyprus: Nicosia|Luxembourg: Luxembourg|Belarus: Minsk|Georgia: Tbilisi
Armenia: Yerevan|Azerbaijan: Baku|Egypt: Cairo|Morocco: Rabat|Algeria: Algiers|Tunisia: Tunis|Libya: Tripoli
Nigeria: Abuja|Ghana: Accra|Kenya: Nairobi|Ethiopia: Addis Ababa|Uganda: Kampala|Rwanda: Kigali|Senegal: Dakar
Angola: Luanda|Zambia: Lusaka|Zimbabwe: Harare|Sudan: Khartoum|Mali: Bamako|Namibia: Windhoek|Tanzania: Dodoma
South Africa: Pretoria|Madagascar: Antananarivo|Somalia: Mogadishu|Israel: Jerusalem|Jordan: Amman|Lebanon: Beirut
Syria: Damascus|Iraq: Baghdad|Iran: Tehran|Saudi Arabia: Riyadh|Qatar: Doha|Oman: Muscat|Kuwait: Kuwait City
the United Arab Emirates: Abu Dhabi|Afghanistan: Kabul|Pakistan: Islamabad|India: New Delhi|Nepal: Kathmandu
Bangladesh: Dhaka|Sri Lanka: Colombo|China: Beijing|Japan: Tokyo|South Korea: Seoul|North Korea: Pyongyang
Mongolia: Ulaanbaatar|Vietnam: Hanoi|Thailand: Bangkok|Cambodia: Phnom Penh|Laos: Vientiane|Malaysia: Kuala Lumpur
Indonesia: Jakarta|the Philippines: Manila|Singapore: Singapore|Kazakhstan: Astana|Uzbekistan: Tashkent
Australia: Canberra|New Zealand: Wellington|Fiji: Suva|Canada: Ottawa|the United States: Washington, D.C.
Mexico: Mexico City|Cuba: Havana|Jamaica: Kingston|Haiti: Port-au-Prince|Guatemala: Guatemala City
Costa Rica: San Jose|Panama: Panama City|Colombia: Bogota|Venezuela: Caracas|Ecuador: Quito|Peru: Lima
Bolivia: Sucre|Chile: Santiago|Argentina: Buenos Aires|Uruguay: Montevideo|Paraguay: Asuncion|Brazil: Brasilia
""")
)

CITIES = (
    *sorted(set(CAPITALS.values()) - {"Washington, D.C."}),
    *_listed("""
New York|San Francisco|Los Angeles|Chicago|Boston|Seattle|Houston|Dallas|Denver|Miami|Atlanta|Phoenix|Portland
Austin|Detroit|San Diego|Las Vegas|Philadelphia|Toronto|Montreal|Vancouver|Calgary|Sydney|Melbourne|Perth|Brisbane
Auckland|Munich|Hamburg|Cologne|Frankfurt|Stuttgart|Leipzig|Dresden|Zurich|Geneva|Basel|Milan|Naples|Turin|Venice
Florence|Barcelona|Valencia|Seville|Lyon|Marseille|Nice|Toulouse|Bordeaux|Manchester|Liverpool|Birmingham|Leeds
Oxford|Cambridge|Edinburgh|Glasgow|Cardiff|Belfast|Rotterdam|Antwerp|Porto|Krakow|Istanbul|Dubai|Mumbai|Kolkata
Bangalore|Shanghai|Hong Kong|Shenzhen|Osaka|Kyoto|Busan|Taipei|Karachi|Lagos|Cape Town|Johannesburg|Casablanca
Rio de Janeiro|Sao Paulo|Tel Aviv|Salt Lake City|Washington|Springfield|Memphis|Nashville|Orlando|Cleveland
"""),
)

FAMOUS_CITIES = (
    "Paris", "London", "Tokyo", "Berlin", "New York", "San Francisco", "Rome", "Madrid", "Boston", "Chicago", "Sydney",
    "Amsterdam", "Munich", "Vienna", "Zurich", "Seattle", "Los Angeles", "Singapore", "Hamburg", "Barcelona",
)  # fmt: skip
"""Cities that people name when they try something out."""

COUNTRIES = tuple(country.removeprefix("the ") for country in CAPITALS)

FIRST_NAMES = Words(
    _words("""
Anna Maria Laura Julia Emma Olivia Sophia Mia Lucy Alice Clara Eva Nina Sara Sarah Emily Grace Hannah Helen Jane Kate
Linda Lisa Mary Nora Rachel Rose Ruth Susan Victoria Zoe Diana Elena Irene Karen Monica Paula Rita Sandra Teresa Vera
Wendy Yvonne Amy Beth Carol Chloe Daisy Ella Fiona Gina Holly Ingrid Jasmine Kim Lena Max Tom Tim Sam Ben Dan Jack
John James Robert Michael William David Richard Joseph Thomas Charles Daniel Matthew Anthony Mark Paul Steven Andrew
Kenneth George Joshua Kevin Brian Edward Ronald Peter Frank Henry Carl Arthur Ryan Roger Joe Juan Albert Jonathan
Justin Terry Gerald Keith Samuel Willie Ralph Lawrence Nicholas Roy Bruce Adam Harry Fred Wayne Billy Steve Louis
Jeremy Aaron Oscar Ivan Hugo Felix Leo Liam Noah Ethan Lucas Mason Logan Oliver Elias Omar Ali Hassan Ahmed Yusuf Ravi
Raj Priya Mei Li Wei Chen Yuki Hiro Kenji Pedro Pablo Carlos Diego Luis Marco Luca Paolo Pierre Jean Hans Klaus Erik
Lars Sven Igor Boris Nadia Olga Tanya Aisha Fatima Leila Amir Tariq Kofi Ada Alan Grace Linus Dennis Ken Guido Bob Eve
Mallory Trent Walter
""")
)

LAST_NAMES = Words(
    _words("""
Smith Johnson Williams Brown Jones Garcia Miller Davis Wilson Anderson Taylor Moore Jackson Martin Lee Thompson White
Harris Clark Lewis Robinson Walker Young Allen King Wright Scott Hill Green Adams Baker Nelson Carter Mitchell Roberts
Turner Phillips Campbell Parker Evans Edwards Collins Stewart Morris Murphy Cook Rogers Morgan Cooper Peterson Reed
Bailey Bell Kelly Howard Ward Cox Richardson Wood Watson Brooks Bennett Gray Hughes Price Myers Long Foster Sanders
Ross Powell Sullivan Russell Fisher Hamilton Graham Wallace West Cole Jordan Owens Reynolds Ford Gibson Freeman Wells
Webb Simpson Stevens Tucker Porter Hunter Hicks Crawford Boyd Mason Kennedy Warren Dixon Burns Gordon Shaw Rice Stone
Weber Becker Schmidt Wagner Meyer Fischer Klein Wolf Rossi Russo Costa Silva Santos Lopez Perez Torres Ruiz Diaz Cruz
Kumar Singh Patel Khan Sharma Tanaka Sato Suzuki Kim Park Wang Zhang Liu Chen Nguyen Tran Ivanov Novak Kowalski
Lovelace Turing
""")
)

COLORS = _words("red green blue yellow orange purple pink brown black white gray gold silver violet")
ANIMALS = _words(
    "dog cat horse cow sheep pig lion tiger bear wolf fox rabbit mouse elephant monkey bird eagle owl fish shark"
)
FOODS = _words("pizza pasta bread cheese rice soup salad sushi chocolate apple banana cake curry fish coffee tea")
LANGUAGES = _words(
    "English French German Spanish Italian Portuguese Dutch Swedish Polish Greek Turkish Russian Japanese "
    "Chinese Korean Arabic Hindi Latin Danish Finnish Norwegian Czech Hungarian Ukrainian Hebrew Thai Vietnamese"
)
CURRENCIES = ("USD", "EUR", "GBP", "JPY", "CHF", "CAD", "AUD", "CNY", "INR", "SEK", "BRL", "MXN")
SYMBOLS = ("AAPL", "MSFT", "GOOG", "AMZN", "TSLA", "META", "NVDA", "IBM", "INTC", "AMD", "ORCL", "NFLX", "SAP", "SONY")
TIME_ZONES = (
    "UTC", "Europe/Paris", "Europe/London", "Europe/Berlin", "America/New_York", "America/Chicago", "Asia/Tokyo",
    "Asia/Kolkata", "Australia/Sydney", "America/Los_Angeles", "Africa/Cairo", "Asia/Singapore", "America/Toronto",
    "Europe/Madrid", "Asia/Dubai", "America/Sao_Paulo", "EST",
    "CET", "GMT", "PST",
)  # fmt: skip
UNITS = (
    "meters",
    "miles",
    "feet",
    "kilometers",
    "inches",
    "pounds",
    "kilograms",
    "grams",
    "liters",
    "gallons",
    "yards",
)
DAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday", "today", "tomorrow", "tonight")
MONTHS = _words("January February March April May June July August September October November December")
STATES = ("CA", "NY", "TX", "MA", "WA", "IL", "FL", "UK", "USA", "Ontario", "Bavaria", "Oregon")
STREETS = ("Street", "Avenue", "Road", "Lane", "Drive", "Way", "Square")
TITLE_FORMS = (
    "The {a} of {b}", "The {a}", "A {a} for {b}", "{a} and {b}", "The {a} {b}", "{a}: {b}", "{a} with {b}",
    "{a} meeting",
    "{a} review", "Team {a}", "Dinner with {a}", "Meeting with {a} {b}", "{a} in the {b}",
)  # fmt: skip
SPECIAL_FILES = ("README.md", "Makefile", "package.json", "pyproject.toml", "Dockerfile", ".env", "main.py",
"notes.txt",
                 "index.html", "config.yaml", "todo.txt", "requirements.txt", ".gitignore", "test.py",
                 "data.csv")  # fmt: skip
SPECIAL_PATHS = ("/etc/hosts", "/etc/passwd", "/tmp/a.txt", "/var/log/syslog", "~/.bashrc", "src/main.py", "./run.sh",
                 "/etc/hostname", "/proc/cpuinfo", "~/notes.txt", "docs/index.md", "C:/Users/me/a.txt")  # fmt: skip
COMMANDS = (
    "ls -la", "ls", "pwd", "whoami", "date", "git status", "git diff", "git log -n {n}", "pytest -x", "make test",
    "df -h",
    "uname -a", "cat {f}", "cat {p}", "cd {d}", "ls {d}", "ls -la {d}", "rm {f}", "rm -rf {d}", "mkdir {w}",
    "mkdir -p {d}",
    "touch {f}", "python {f}", "python3 {f}", "pip install {w}", "npm install {w}", "npm run {w}", "npm test",
    "make {w}",
    "grep {w} {f}", "grep -r {w} {d}", "git checkout {w}", "git commit -m {w}", "git add {f}", "git push", "git pull",
    "docker ps", "docker run {w}", "docker build .", "curl {u}", "wget {u}", "echo {w}", "echo {w} {v}",
    "find . -name {f}",
    "head -n {n} {f}", "tail -n {n} {f}", "tail -f {p}", "wc -l {f}", "chmod +x {f}", "cp {f} {d}", "mv {f} {d}",
    "kill {n}",
    "ps aux", "top", "pytest {p}", "pytest -k {w}", "ruff check {d}", "cargo build", "cargo test", "go run {f}",
    "uv sync",
    "sleep {n}", "ssh {w}", "ping {w}.com", "sort {f} | uniq", "cat {f} | grep {w}", "node {f}", "{w} --{v}",
    "{w} -{n}",
    "{w} {v} {f}", "sudo {w} {v}", "free -m", "env", "which {w}", "bash {f}", "tar -xzf {w}.tar.gz", "du -sh {d}",
)  # fmt: skip
SNIPPETS = (
    "print(VV)", "x = NN", "VV = NN", "def VV(): pass", "return VV + WW", "import VV", "VV.WW(NN)", "a + b", "VV[NN]",
    "for VV in WW:", "if VV > NN:", "let VV = NN;", "const VV = WW;", "SELECT * FROM VV", "<b>VV</b>", "VV(WW, NN)",
    "{VV: NN}", "[NN, NN, NN]", "VV == WW", "VV && WW", "a/b", "f(x) = NN", "VV->WW", "#VV", "@VV", "VV_WW", "$VV",
    "SELECT VV FROM WW WHERE id = NN", "SELECT VV FROM WW LIMIT NN", "SELECT COUNT(*) FROM VV", "x^2 + NN", "NN%",
    "VV!",
)  # fmt: skip
SMALL_WORDS = _words(
    "the the the a a is is are was my your this that it we you they not of of has have can will be so very as if or "
    "but "
    "I do no he she his her our all more when who there then now just about to to in in for with and and on at from "
    "up out"
)
"""What stands between the words of real sentences."""
SQL_FORMS = (
    "SELECT * FROM {t}", "SELECT {c} FROM {t}", "SELECT * FROM {t} LIMIT {n}", "SELECT COUNT(*) FROM {t}",
    "SELECT {c} FROM {t} WHERE id = {n}", "SELECT * FROM {t} ORDER BY {c}", "DELETE FROM {t} WHERE id = {n}",
    "SELECT * FROM {t} WHERE {c} > {n}", "SELECT {c}, {t} FROM {v}", "DROP TABLE {t}",
)  # fmt: skip
ROOMS = ("kitchen", "bedroom", "living room", "bathroom", "office", "garage", "garden", "hallway", "basement", "attic")
EXTENSIONS = ("txt", "md", "py", "json", "csv", "html", "js", "log", "pdf", "yaml", "toml", "sh", "xml", "rs", "go")
FOLDERS = ("src", "docs", "data", "tmp", "home", "etc", "var", "usr", "logs", "tests", "config", "app", "build", "lib")
HOSTS = (
    "example.com",
    "example.org",
    "test.com",
    "mail.com",
    "gmail.com",
    "github.com",
    "company.com",
    "localhost:8080",
)

_SMALL = _words(
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen "
    "seventeen eighteen nineteen"
)
NUMBER_WORDS = (*_SMALL, "twenty", *(f"twenty-{_SMALL[n]}" for n in range(1, 10)), "thirty")
"""`NUMBER_WORDS[n]` is n in words, up to thirty."""


COMMON_WORDS = Words(Path(__file__).with_name("common_words.txt").read_text(encoding="ascii").split())
"""English words that are one token of the vocabulary after a space. None is a preposition, a pronoun or the like."""

NAMING_WORDS = Words(tuple(word for word in COMMON_WORDS.all if held_out(f"naming {word}", 3)))
"""A third of them, of which names of tools and files, titles and words in capitals are made."""


@cache
def any_words() -> Words:
    """All words and pieces of words in the vocabulary, of every language, some hundred thousand."""
    pieces = (token_bytes(token) for token in range(FIRST_SPECIAL))
    texts = (piece.decode(errors="ignore").strip() for piece in pieces if len(piece) > 2)
    return Words(tuple(dict.fromkeys(text for text in texts if len(text) > 1 and text.isalpha())))
