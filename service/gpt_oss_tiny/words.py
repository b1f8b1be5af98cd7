"""The things the corpus speaks of: names, places, numbers in words."""

from __future__ import annotations

from pathlib import Path

from gpt_oss_tiny.draw import Words, held_out


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
    "Chinese Korean Arabic Hindi Latin Danish Finnish"
)
CURRENCIES = ("USD", "EUR", "GBP", "JPY", "CHF", "CAD", "AUD", "CNY", "INR", "SEK", "BRL", "MXN")
SYMBOLS = ("AAPL", "MSFT", "GOOG", "AMZN", "TSLA", "META", "NVDA", "IBM", "INTC", "AMD", "ORCL", "NFLX", "SAP", "SONY")
TIME_ZONES = (
    "UTC", "Europe/Paris", "Europe/London", "Europe/Berlin", "America/New_York", "America/Chicago", "Asia/Tokyo",
    "Asia/Kolkata", "Australia/Sydney", "America/Los_Angeles", "Africa/Cairo", "Asia/Singapore",
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
"""Common English words, most of them one token of the vocabulary both after a space and on their own."""

NAMING_WORDS = Words(tuple(word for word in COMMON_WORDS.all if held_out(f"naming {word}", 3)))
"""A third of them, of which names of tools and files, titles and words in capitals are made."""
