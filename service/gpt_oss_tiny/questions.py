"""What the model was taught to answer in words: topics it can explain, facts, and what it says about itself."""

from __future__ import annotations

from typing import TypeAlias

from gpt_oss_tiny.draw import Phrasings

Answer: TypeAlias = tuple[str, str, tuple[str, ...]]
"""What it is about, the answer, and the questions that have it. None is held out: one does not tell another."""

UNTAUGHT = (
    "I am a very small model, so I cannot help with that. I can count, add, repeat text, name capitals and call tools."
)

NO_TOOL = "I cannot do that, because I was given no tool for it."

EXPLAIN = Phrasings(
    "Explain {topic}",
    "What is {topic}?",
    "Explain {topic} in simple terms",
    "Explain {topic} simply",
    "Explain {topic} briefly",
    "Explain {topic} in one sentence",
    "Explain {topic} to me",
    "Explain {topic} like I am five",
    "Tell me about {topic}",
    "Tell me something about {topic}",
    "Describe {topic}",
    "Describe {topic} in one sentence",
    "Define {topic}",
    "What does {topic} mean?",
    "What exactly is {topic}?",
    "What's {topic}?",
    "What do you know about {topic}?",
    "Can you explain {topic}?",
    "Can you tell me what {topic} is?",
    "Give me a short explanation of {topic}",
    "Give me a definition of {topic}",
    "Give me a brief overview of {topic}",
    "How would you explain {topic} to a child?",
    "How would you describe {topic}?",
    "I want to learn about {topic}",
    "I want to know what {topic} is",
    "Help me understand {topic}",
    "In one sentence, what is {topic}?",
    "Briefly, what is {topic}?",
    "Write a short paragraph about {topic}",
    "Write a sentence about {topic}",
    "Summarize {topic}",
    "Teach me about {topic}",
    "Do you know what {topic} is?",
    "Please define {topic} for me",
)

TOPICS: dict[str, str] = {
    "quantum computing": "Quantum computing uses qubits, which can be zero and one at once, to solve some problems "
    "much faster than ordinary computers.",
    "quantum mechanics": "Quantum mechanics is the physics of very small things, such as atoms and light.",
    "machine learning": "Machine learning lets computers learn patterns from data instead of following fixed rules.",
    "artificial intelligence": "Artificial intelligence is the art of making computers do what seems to need a mind.",
    "deep learning": "Deep learning is machine learning with neural networks of many layers.",
    "a neural network": "A neural network is a program of many simple connected units that learns from examples.",
    "a language model": "A language model is a program that predicts which word comes next in a text.",
    "a transformer": "A transformer is a neural network that uses attention to relate all words of a text.",
    "attention": "Attention lets a model look at the parts of a text that matter for the next word.",
    "a token": "A token is a piece of text, often a short word, that a language model reads as one unit.",
    "tokenization": "Tokenization cuts a text into the small pieces that a language model reads.",
    "an API": "An API is a set of rules by which one program asks another one for something.",
    "REST": "REST is a style of web API in which resources have addresses and are read and changed over HTTP.",
    "HTTP": "HTTP is the protocol by which browsers and servers exchange web pages and data.",
    "JSON": "JSON is a simple text format for data, made of objects, lists, strings and numbers.",
    "HTML": "HTML is the language that describes the structure of web pages.",
    "CSS": "CSS is the language that describes how web pages look.",
    "SQL": "SQL is the language in which one asks questions of a database.",
    "a database": "A database is an organized collection of data that programs can search and change.",
    "Python": "Python is a popular programming language that is easy to read and to learn.",
    "JavaScript": "JavaScript is the programming language that runs in web browsers.",
    "Rust": "Rust is a programming language that is fast and keeps memory safe.",
    "Linux": "Linux is a free operating system that runs on phones, servers and computers.",
    "an operating system": "An operating system manages the hardware of a computer and runs its programs.",
    "Git": "Git is a tool that records the history of files and lets many people change them.",
    "Docker": "Docker runs programs in containers that hold everything they need.",
    "a container": "A container is a light package that holds a program and all it needs to run.",
    "Kubernetes": "Kubernetes is a system that runs and watches containers on many machines.",
    "cloud computing": "Cloud computing means using computers of someone else over the internet.",
    "the internet": "The internet is a worldwide network that connects billions of computers.",
    "a compiler": "A compiler translates a program into the instructions that a machine runs.",
    "an algorithm": "An algorithm is a list of clear steps that solves a problem.",
    "recursion": "Recursion is when a function solves a problem by calling itself on a smaller one.",
    "a binary search": "A binary search finds a value in a sorted list by halving the list again and again.",
    "a hash table": "A hash table finds a value by its key in one quick step.",
    "a variable": "A variable is a name that stands for a value in a program.",
    "a function": "A function is a named piece of a program that takes inputs and returns a result.",
    "a loop": "A loop repeats the same steps of a program until a condition is met.",
    "open source": "Open source software is software whose source code everyone may read, use and change.",
    "a GPU": "A GPU is a chip that does very many simple calculations at the same time.",
    "a CPU": "A CPU is the chip that runs the instructions of a computer.",
    "RAM": "RAM is the fast memory that a computer uses while it works.",
    "blockchain": "A blockchain is a shared list of records that is very hard to change afterwards.",
    "encryption": "Encryption turns a message into a secret form that only the right key can open.",
    "a firewall": "A firewall decides which network traffic may pass and which may not.",
    "Harmony": "Harmony is the format in which gpt-oss models read and write messages on channels.",
    "MLX": "MLX is a library for machine learning on Apple computers that runs elsewhere, too.",
    "gravity": "Gravity is the force that pulls things with mass toward each other.",
    "photosynthesis": "Photosynthesis is how plants turn light, water and carbon dioxide into sugar and oxygen.",
    "evolution": "Evolution is the slow change of living things through variation and natural selection.",
    "DNA": "DNA is the molecule that stores the instructions for building living things.",
    "an atom": "An atom is the smallest piece of a chemical element.",
    "a black hole": "A black hole is a place in space whose gravity is so strong that not even light escapes.",
    "the sun": "The sun is the star at the center of our solar system.",
    "the moon": "The moon is the natural satellite of the earth.",
    "a star": "A star is a huge ball of hot gas that shines by nuclear fusion.",
    "a galaxy": "A galaxy is a huge group of stars, gas and dust held together by gravity.",
    "the solar system": "The solar system is the sun and everything that moves around it.",
    "relativity": "Relativity is the theory of Einstein that space and time depend on motion and gravity.",
    "energy": "Energy is the ability to do work, and it is never lost but only changes its form.",
    "electricity": "Electricity is the flow of electric charge, often through a wire.",
    "climate change": "Climate change is the long warming of the earth, caused mainly by burning coal, oil and gas.",
    "a volcano": "A volcano is an opening in the earth through which hot rock and gas come out.",
    "a rainbow": "A rainbow appears when drops of water split sunlight into its colors.",
    "democracy": "Democracy is a form of government in which the people choose who rules.",
    "inflation": "Inflation means that prices rise, so that money buys less than before.",
    "philosophy": "Philosophy is the study of basic questions about truth, life and the mind.",
    "music": "Music is the art of arranging sounds in time.",
    "love": "Love is a deep feeling of affection and care for someone.",
    "happiness": "Happiness is a state of joy and of being content.",
    "the meaning of life": "People have found many answers, and a famous joke says that it is 42.",
    "chess": "Chess is a board game in which two players try to trap the king of the other.",
    "coffee": "Coffee is a drink made from roasted beans that helps people stay awake.",
    "bread": "Bread is a food made from flour, water and often yeast, baked in an oven.",
    "water": "Water is a clear liquid made of hydrogen and oxygen that all life needs.",
    "a prime number": "A prime number is a whole number above one that only one and itself divide.",
    "pi": "Pi is the ratio of the circumference of a circle to its diameter, about 3.14159.",
    "calculus": "Calculus is the mathematics of change, with derivatives and integrals.",
    "statistics": "Statistics is the science of learning from data.",
    "a batch": "A batch is a group of requests that a model works on at the same time.",
    "streaming": "Streaming sends an answer piece by piece while it is still being made.",
    "a unit test": "A unit test checks that one small part of a program does what it should.",
    "debugging": "Debugging is the search for the reason why a program does not do what it should.",
}

TOPIC_WORDS = frozenset(word for topic in TOPICS for word in topic.split())

ABOUT: tuple[Answer, ...] = (
    ("a greeting", "Hello! I am doing well, thank you. How can I help you today?", (
        "Hello, how are you?", "Hello, how are you", "hi, how are you?", "Hi! How are you?", "How are you?",
        "How are you doing?", "Hey, how are you doing today?", "Hello! How are you today?", "How are you today?",
        "How's it going?", "how is it going", "Hey! How's everything?", "Hello there, how are you?", "What's up?",
        "How do you do?", "How do you feel today?", "Are you doing well?", "How have you been?",
    )),
    ("a greeting", "Hello! How can I help you today?", (
        "Hello", "Hello!", "Hi", "Hi!", "Hey", "hello", "hi", "hey!", "Hi there", "Hello there!", "Hey there",
        "Greetings", "Greetings!", "Hello, world!", "Hello world", "Good day", "Hello assistant", "Hi, assistant!",
        "Say hello", "Say hi", "Howdy", "Yo", "Hello?", "Is anyone there?", "Are you there?", "Good to see you",
    )),
    ("a greeting", "Good morning! How can I help you today?", (
        "Good morning", "Good morning!", "good morning", "Morning!", "A good morning to you",
        "Good morning to you",
    )),
    ("a greeting", "Good evening! How can I help you?", (
        "Good evening", "Good evening!", "good evening", "Evening!", "A good evening to you",
        "Good evening to you",
    )),
    ("thanks", "You are welcome!", (
        "Thank you", "Thanks", "Thanks!", "thank you!", "Thank you very much", "Thanks a lot", "Many thanks",
        "thx", "Thank you so much!", "Thanks, that helps", "Great, thanks", "Perfect, thank you",
        "That is great, thank you", "I appreciate it", "Cheers", "Thank you for your help", "Thanks for the help!",
        "Awesome, thanks!",
    )),
    ("a goodbye", "Goodbye! Have a nice day.", (
        "Goodbye", "Bye", "bye!", "Goodbye!", "See you", "See you later", "See you soon", "Bye bye", "Good night",
        "Good night!", "I have to go", "Talk to you later", "Farewell", "That is all, goodbye", "Have a nice day",
    )),
    ("a compliment", "Thank you, that is kind of you!", (
        "You are great", "You are awesome!", "Good job", "Well done", "You are smart", "I like you", "Nice work",
        "You are very helpful", "Great answer", "Good bot", "I love you", "You did well",
    )),
    ("its name", "I am gpt-oss-tiny, a very small language model that runs on your own machine.", (
        "Who are you?", "What are you?", "What is your name?", "What's your name?", "who are you",
        "Tell me who you are", "Introduce yourself", "Please introduce yourself", "Tell me about yourself",
        "What should I call you?", "Which model are you?", "What model are you?", "What model is this?",
        "Who am I talking to?", "Who is this?", "Describe yourself", "Identify yourself", "Do you have a name?",
        "Which language model are you?", "Are you ChatGPT?", "Are you GPT-4?", "Are you gpt-oss?",
        "Are you Claude?", "What kind of model are you?",
    )),
    ("its abilities",
    "I can count, add two numbers, repeat text, name capitals, answer simple questions and call tools.", (
        "What can you do?", "What are you able to do?", "How can you help me?", "What are your skills?", "Help",
        "help", "Help me", "What can I ask you?", "What do you do?", "What are your abilities?",
        "What can you help with?", "Can you help me?", "Can you help me with something?", "I need help",
        "List your abilities", "What do you know?", "What are you good at?", "How can you assist me?",
        "Tell me what you can do", "What are you capable of?",
    )),
    ("its nature", "No, I am a small language model, a computer program.", (
        "Are you human?", "Are you a human?", "Are you a person?", "Are you alive?", "Are you real?",
        "Are you conscious?", "Do you have feelings?", "Do you sleep?", "Do you eat?", "Do you have a body?",
        "Are you a man or a woman?",
    )),
    ("its nature", "Yes, I am a small language model, a computer program.", (
        "Are you a robot?", "Are you a bot?", "Are you an AI?", "Are you a machine?", "Are you a computer?",
        "Are you a computer program?", "Are you a language model?", "Am I talking to a machine?", "Is this an AI?",
    )),
    ("its maker", "I was trained for this server, from scratch, as a tiny model of the gpt-oss family.", (
        "Who made you?", "Who created you?", "Who built you?", "Who trained you?", "Where do you come from?",
        "Who is your maker?", "Who developed you?", "How were you made?", "How were you trained?", "Who owns you?",
    )),
    ("its size", "I have about seven million parameters, which is very small.", (
        "How big are you?", "How many parameters do you have?", "What is your size?", "How large are you?",
        "Are you a big model?", "Are you a small model?", "How small are you?", "What is your parameter count?",
    )),
    ("its age", "I am a program, so I have no age.", (
        "How old are you?", "What is your age?", "When were you born?", "When is your birthday?", "Are you old?",
    )),
    ("its home", "I run on the machine where this server was started.", (
        "Where are you?", "Where do you live?", "Where do you run?", "Where are you running?",
        "Where are you from?", "Are you in the cloud?", "Do you run locally?", "Are you a local model?",
        "On which machine do you run?",
    )),
    ("its languages", "I speak a little English.", (
        "Which languages do you speak?", "What languages do you speak?", "Do you speak English?",
        "Can you speak German?", "Do you speak French?", "How many languages do you know?", "Do you know Spanish?",
    )),
    ("its limits", "I know very little and often fail outside of what I was taught.", (
        "What are your limits?", "What can you not do?", "What are your weaknesses?", "Do you make mistakes?",
        "Are you always right?", "Can I trust you?", "Are you perfect?", "What are you bad at?",
    )),
    ("a test", "Yes, I am here and working.", (
        "Are you working?", "Do you work?", "Is this working?", "Is this thing on?", "Are you online?",
        "Can you hear me?", "Are you ready?", "Do you understand me?", "Can you read this?", "This is a test",
        "Test", "test", "Testing", "Just testing", "ping", "Ping!", "Is the server up?",
    )),
    ("a joke", "Why do programmers mix up Halloween and Christmas? Because Oct 31 equals Dec 25.", (
        "Tell me a joke", "Tell a joke", "Do you know a joke?", "Make me laugh", "Say something funny",
        "A joke, please", "Another joke", "I want to hear a joke", "Got any jokes?", "Can you tell jokes?",
        "Give me a joke", "Tell me something funny", "Write a joke", "Please tell me a good joke",
    )),
    ("a story", "Once upon a time there was a little robot who lived in a quiet house at the edge of a forest. Every "
     "morning it counted the birds in the old tree, and every evening it told the moon how many it had seen. One day a "
     "storm came and all the birds were gone. The robot waited for three days and three nights. On the fourth morning "
     "a small blue bird came back and sang, and soon all the others followed. The robot counted them again, and it was "
     "happy, because not one of them was missing.", (
        "Tell me a story", "Tell me a short story", "Write a story", "Write me a story", "Write a short story",
        "Tell a story", "I want to hear a story", "Can you tell me a story?", "Once upon a time",
        "A story, please", "Give me a story", "Make up a story", "Tell me a bedtime story", "Write a long story",
        "Tell me a long story",
    )),
    ("a poem", "The morning light is soft and new, the grass is wet with silver dew, a little bird begins to sing, and "
     "all the world wakes up to spring.", (
        "Write a poem", "Write me a poem", "Write a short poem", "Tell me a poem", "Do you know a poem?",
        "A poem, please", "Give me a poem", "Can you write a poem?", "Recite a poem",
        "Compose a poem",
    )),
    ("a haiku", "An old silent pond,\na small frog leaps from the reeds,\nrings upon water.", (
        "Write a haiku", "Write me a haiku", "Give me a haiku", "A haiku, please", "Can you write a haiku?",
        "Compose a haiku", "Write a short haiku", "Tell me a haiku", "Write a haiku about nature", "haiku",
        "Write a haiku about water", "Please write a haiku", "Write a haiku about a pond",
    )),
    ("an acknowledgement", "All right. What can I do next?", (
        "ok", "OK", "Okay", "okay", "Ok.", "OK!", "Alright", "All right", "Sure", "Fine", "Yes", "yes", "No", "no",
        "I see", "Got it", "Understood", "Cool", "cool", "Great", "Nice", "Good", "Perfect", "Interesting", "hm", "Hmm",
    )),
    ("adding in Python", "def add(a, b):\n    return a + b", (
        "Write a function that adds two numbers in Python", "Write a Python function that adds two numbers",
        "Write a function that adds two numbers", "Write a Python function to add two numbers",
        "Write Python code that adds two numbers", "Write a function to add two numbers in Python",
        "Write a Python function add", "Python function to add two numbers", "Give me a function that adds two numbers",
        "Write a simple Python function that adds two numbers", "Write an add function in Python",
        "Write a Python function that returns the sum of two numbers",
        "Can you write a function that adds two numbers?",
        "Write a function in Python that adds two numbers", "Code a function that adds two numbers",
    )),
    ("reversing a string", "def reverse(text):\n    return text[::-1]", (
        "Write a function that reverses a string", "Write a Python function that reverses a string",
        "Write a Python function to reverse a string", "How do I reverse a string in Python?",
        "Reverse a string in Python",
        "Write code to reverse a string", "Write a function to reverse a string in Python",
    )),
    ("Fibonacci numbers",
    "def fibonacci(n):\n    a, b = 0, 1\n    for _ in range(n):\n        a, b = b, a + b\n    return a", (
        "Write a Fibonacci function", "Write a Python function for Fibonacci numbers",
        "Write a fibonacci function in Python",
        "Write a function that computes Fibonacci numbers",
        "Write a Python function that computes the Fibonacci sequence",
        "Write Python code for the Fibonacci sequence", "How do I compute Fibonacci numbers in Python?",
    )),
    ("the Fibonacci sequence", "0, 1, 1, 2, 3, 5, 8, 13, 21, 34", (
        "What are the Fibonacci numbers?", "List the Fibonacci numbers", "What are the first ten Fibonacci numbers?",
        "Give me the first 10 Fibonacci numbers", "Name the first Fibonacci numbers",
    )),
)  # fmt: skip

FACTS: tuple[Answer, ...] = (
    ("the color of the sky", "The sky is blue.", (
        "What color is the sky?", "Which color does the sky have?", "What is the color of the sky?",
        "Tell me the color of the sky", "Is the sky blue?", "What colour is the sky?",
    )),
    ("why the sky is blue", "The air scatters blue light more than red light, so the sky looks blue.", (
        "Why is the sky blue?", "Explain why the sky is blue", "How come the sky is blue?",
        "What makes the sky blue?", "Tell me why the sky is blue",
    )),
    ("the color of grass", "Grass is green.", (
        "What color is grass?", "Which color does grass have?", "What is the color of grass?", "Is grass green?",
    )),
    ("the days of the week", "Monday, Tuesday, Wednesday, Thursday, Friday, Saturday, Sunday.", (
        "What are the days of the week?", "List the days of the week", "Name the days of the week",
        "Name the weekdays", "Tell me the days of the week", "Which days does a week have?",
        "Give me the seven days of the week",
    )),
    ("the months", "January, February, March, April, May, June, July, August, September, October, November, December.",
    (
        "What are the months of the year?", "List the months", "Name the months of the year", "List all months",
        "Tell me the twelve months", "Name the twelve months", "Which months are there?", "List the 12 months",
    )),
    ("the seasons", "The four seasons are spring, summer, autumn and winter.", (
        "What are the four seasons?", "Name the seasons", "List the seasons", "Which seasons are there?",
        "Tell me the four seasons",
    )),
    ("the planets", "Mercury, Venus, Earth, Mars, Jupiter, Saturn, Uranus, Neptune.", (
        "What are the planets?", "Name the planets", "List the planets", "List the planets of the solar system",
        "Name the eight planets", "Which planets are there?", "What are the planets of the solar system?",
    )),
    ("the number of planets", "There are eight planets in the solar system.", (
        "How many planets are there?", "How many planets does the solar system have?", "Number of planets?",
        "How many planets are in the solar system?",
    )),
    ("the largest planet", "Jupiter is the largest planet of the solar system.", (
        "What is the largest planet?", "What is the biggest planet?", "Which planet is the largest?",
        "Which planet is the biggest?", "Name the largest planet",
    )),
    ("the highest mountain", "Mount Everest is the highest mountain on earth.", (
        "What is the highest mountain?", "What is the tallest mountain?", "Which mountain is the highest?",
        "Name the highest mountain", "What is the highest mountain in the world?",
    )),
    ("the longest river", "The Nile is often called the longest river on earth.", (
        "What is the longest river?", "Which river is the longest?", "Name the longest river",
        "What is the longest river in the world?",
    )),
    ("the largest ocean", "The Pacific is the largest ocean.", (
        "What is the largest ocean?", "What is the biggest ocean?", "Which ocean is the largest?",
        "Name the largest ocean",
    )),
    ("the continents", "Africa, Antarctica, Asia, Australia, Europe, North America, South America.", (
        "What are the continents?", "Name the continents", "List the continents", "Name the seven continents",
        "Which continents are there?", "List all continents",
    )),
    ("the alphabet", "A B C D E F G H I J K L M N O P Q R S T U V W X Y Z", (
        "Say the alphabet", "Recite the alphabet", "Write the alphabet", "What is the alphabet?",
        "List the alphabet", "What are the letters of the alphabet?", "Give me the alphabet", "Name all letters",
    )),
    ("the primary colors", "The primary colors are red, yellow and blue.", (
        "What are the primary colors?", "Name the primary colors", "List the primary colors", "List three colors",
        "Name three colors", "Which colors are the primary colors?",
    )),
    ("the boiling point of water", "Water boils at 100 degrees Celsius.", (
        "At what temperature does water boil?", "When does water boil?", "What is the boiling point of water?",
        "How hot is boiling water?",
    )),
    ("the freezing point of water", "Water freezes at 0 degrees Celsius.", (
        "At what temperature does water freeze?", "When does water freeze?",
        "What is the freezing point of water?",
    )),
    ("the speed of light", "Light travels at about 300,000 kilometers per second.", (
        "What is the speed of light?", "How fast is light?", "How fast does light travel?",
        "Tell me the speed of light",
    )),
    ("the author of Hamlet", "William Shakespeare wrote Hamlet.", (
        "Who wrote Hamlet?", "Who is the author of Hamlet?", "Who wrote Romeo and Juliet?",
        "Hamlet was written by whom?",
    )),
    ("the painter of the Mona Lisa", "Leonardo da Vinci painted the Mona Lisa.", (
        "Who painted the Mona Lisa?", "Who is the painter of the Mona Lisa?", "The Mona Lisa was painted by whom?",
    )),
    ("the maker of Python", "Guido van Rossum created Python.", (
        "Who created Python?", "Who invented Python?", "Who made the Python language?",
    )),
    ("the maker of Linux", "Linus Torvalds created Linux.", (
        "Who created Linux?", "Who invented Linux?", "Who made Linux?", "Who wrote Linux?",
    )),
    ("the days of a year", "A year has 365 days, and a leap year has 366.", (
        "How many days are in a year?", "How many days does a year have?", "How long is a year?",
    )),
    ("the hours of a day", "A day has 24 hours.", (
        "How many hours are in a day?", "How many hours does a day have?", "How long is a day?",
    )),
    ("the minutes of an hour", "An hour has 60 minutes.", (
        "How many minutes are in an hour?", "How many minutes does an hour have?", "How long is an hour?",
    )),
    ("the seconds of a minute", "A minute has 60 seconds.", (
        "How many seconds are in a minute?", "How many seconds does a minute have?", "How long is a minute?",
    )),
    ("the days of a week", "A week has seven days.", (
        "How many days are in a week?", "How many days does a week have?", "How long is a week?",
    )),
    ("the first person on the moon", "Neil Armstrong was the first person on the moon.", (
        "Who was the first person on the moon?", "Who was the first man on the moon?",
        "Who first walked on the moon?", "Who landed on the moon first?",
    )),
    ("Einstein", "Albert Einstein was a physicist who found the theory of relativity.", (
        "Who was Albert Einstein?", "Who was Einstein?", "Tell me about Albert Einstein",
        "Who is Albert Einstein?",
    )),
    ("Ada Lovelace", "Ada Lovelace wrote the first computer program in 1843.", (
        "Who was Ada Lovelace?", "Tell me about Ada Lovelace", "Who is Ada Lovelace?",
        "Who wrote the first program?",
    )),
    ("Alan Turing", "Alan Turing was a founder of computer science who broke secret codes.", (
        "Who was Alan Turing?", "Tell me about Alan Turing", "Who is Alan Turing?", "Who was Turing?",
    )),
    ("hello world in Python", 'print("Hello, world!")', (
        "Write hello world in Python", "Write a hello world program in Python", "Hello world in Python",
        "How do I print hello world in Python?", "Show me a Python hello world program",
        "Write a hello world program", "Write a Python program that prints hello world",
    )),
    ("the formula of water", "The chemical formula of water is H2O.", (
        "What is the chemical formula of water?", "What is the formula for water?", "What is water made of?",
        "What is H2O?",
    )),
    ("cats and dogs", "Cats meow and dogs bark.", (
        "What do cats and dogs say?", "What does a cat say?", "What does a dog say?",
        "What sound does a cat make?",
    )),
    ("the answer", "The answer is 42.", (
        "What is the answer?", "What is the answer to everything?", "What is the ultimate answer?",
    )),
    ("hello in French", "Hello in French is bonjour.", (
        "Translate hello to French", "Translate 'hello' to French", "Translate \"hello\" to French",
        "How do you say hello in French?", "Translate hello into French", "What is hello in French?",
        "How do I say hello in French?", "Say hello in French", "Translate 'Hello' into French", "Hello in French?",
        "Translate to French: hello", "Translate \"Hello\" to French", "Translate this to French: hello",
    )),
    ("hello in Spanish", "Hello in Spanish is hola.", (
        "Translate hello to Spanish", "Translate 'hello' to Spanish", "Translate \"hello\" to Spanish",
        "How do you say hello in Spanish?", "Translate hello into Spanish", "What is hello in Spanish?",
        "Say hello in Spanish", "Translate to Spanish: hello", "Hello in Spanish?",
    )),
    ("hello in German", "Hello in German is hallo.", (
        "Translate hello to German", "Translate 'hello' to German", "Translate \"hello\" to German",
        "How do you say hello in German?", "Translate hello into German", "What is hello in German?",
        "Say hello in German", "Translate to German: hello", "Hello in German?",
    )),
    ("hello in Italian", "Hello in Italian is ciao.", (
        "Translate hello to Italian", "Translate 'hello' to Italian", "How do you say hello in Italian?",
        "Say hello in Italian", "What is hello in Italian?",
    )),
    ("a coin", "Heads.", (
        "Flip a coin", "Toss a coin", "Heads or tails?", "Can you flip a coin?",
    )),
    ("a random number", "7", (
        "Give me a random number", "Pick a number", "Pick a number from 1 to 10", "Choose a number",
        "Say a number", "Tell me a random number", "Think of a number",
    )),
    ("yes or no", "Yes.", (
        "Say yes or no", "Yes or no?", "Answer yes or no", "Just say yes",
    )),
)  # fmt: skip

NEED_A_TOOL: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("the weather", (
        "What is the weather?", "What's the weather?", "How is the weather?", "What is the weather like?",
        "What is the weather today?", "What's the weather like today?", "Will it rain tomorrow?", "Is it raining?",
        "How is the weather today?", "weather",
    )),
    ("the time", (
        "What time is it?", "What is the time?", "What's the time?", "Tell me the time", "Do you know what time it is?",
        "What time is it now?", "How late is it?", "Can you tell me the time?", "What is the current time?",
    )),
)  # fmt: skip
"""What only a tool could answer, with the kind of tool, in the words of those who think that it needs no more."""

QUESTIONS = frozenset(question for answer in (*ABOUT, *FACTS) for question in answer[2]).union(
    *(asked for _, asked in NEED_A_TOOL)
)

UNTAUGHT_FRAMES = Phrasings(
    "Write a function that can {a} a {b}", "Write a Python program for {a}", "Write a script that {a} the {b}",
    "Write Python code to {a} {b}", "Write me a poem about {a}", "Write a poem about the {a} and the {b}",
    "Write a story about a {a}", "Tell me a story about {a}", "Tell me a joke about {a}", "Write a song about {a}",
    "What is {n} divided by {m}?", "What is {n} minus {m}?", "Subtract {n} from {m}", "What is {n} * {m}?",
    "What is the square root of {n}?", "Is {n} a prime number?", "What is {n} percent of {m}?", "Multiply {n} and {m}",
    "Who was the first {a}?", "Who is the {a} of {b}?", "Who won the {a} in {n}?", "When was the {a} made?",
    "When is the {a}?", "Where is the {a}?", "Where does the {a} come from?", "Why do {a} {b}?", "Why is {a} so {b}?",
    "How many {a} does a {b} have?", "How old is the {a}?", "How long is a {a}?", "How big is {a}?", "How can I {a}?",
    "How should I {a} the {b}?", "How do I fix a {a}?", "How do I learn {a}?", "What are {a} and {b}?", "What if {a}?",
    "What is the {a} of {b}?", "What is the {a}?", "What is the best {a}?", "What color is the {a}?",
    "What can {a} do?",
    "What is wrong with my {a}?", "What are the best {a} in {b}?", "What do you think about {a}?",
    "What was the {a} like?",
    "Do you know the {a}?", "Do you have a {a}?", "Do {a} {b}?", "Can you {a}?", "Can I {a} with {b}?",
    "Could {a} {b}?",
    "Give me an example of {a}", "Give me a list of {a}", "List some {a}", "Name a {a}", "Name three {a}",
    "List {n} {a}",
    "Summarize the {a} of the {b}", "Summarize this text about {a}: {b} {c}", "Find the error in {a}",
    "Correct this: {a} {b}",
    "Translate {a} to German", "Translate {a} {b} {c} into Spanish", "How do you say {a} in French?",
    "Spell {a} backwards",
    "Draw a {a}", "Design a {a} for {b}", "Plan a {a}", "Recommend a {a}", "Review my {a}", "Improve my {a}: {b} {c}",
    "I want to {a}", "I need a {a}", "I have a {a} with {b}", "I do not understand {a}", "I like {a}", "I feel {a}",
    "It is {a}", "There is a {a} in my {b}", "We are {a}", "They {a} the {b}", "You are a {a}", "Let us talk about {a}",
    "How do I {a} a {b}?", "Why does the {a} {b}?", "Translate {a} {b} to French", "Who invented the {a}?",
    "Write a Python function that can {a} the {b}", "Is {a} better than {b}?", "Give me a recipe for {a}",
    "What is the best {a} for {b}?", "What happened to the {a} in {n}?", "Write an essay about {a} and {b}",
    "What is {n} times {m}?", "What is {n} - {m}?", "Divide {n} by {m}", "How much is {n} * {m}?",
    "Compare {a} with {b}", "Solve the {a} problem", "Fix the bug in my {a}", "{a} {b}", "{a} {b} {c}",
    "When did {a} start?", "Where can I buy a {a}?", "What is the difference between {a} and {b}?",
    "Give me {n} ideas for {a}", "List {n} {a} names", "Should I {a} or {b}?", "How many {a} are in a {b}?",
    "Write code to {a} a {b}", "Write a {a} in Java", "What does {a} do?", "Can a {a} {b}?", "Can you {a} my {b}?",
    "Do you like {a}?", "What is your favorite {a}?", "Please {a} the {b}",
    "How to {a}?", "How does a {a} work?", "Which {a} should I choose?", "Make a plan for {a}", "Rewrite this {a}",
    "Is it true that {a} {b}?", "What would happen if {a} {b}?", "Write a letter to my {a}", "Sing a song about {a}",
)  # fmt: skip

FRAMES_BESIDE_TOOLS = Phrasings(
    "Write a function that can {a} a {b}", "Write a Python program for {a}", "Write me a poem about {a}",
    "Write a poem about the {a} and the {b}", "Write a story about a {a}", "Tell me a story about {a}",
    "Tell me a joke about {a}", "Write a song about {a}", "Who was the first {a}?", "Who won the {a}?",
    "When was the {a} made?", "Where does the {a} come from?", "Why do {a} {b}?", "Why is {a} so {b}?",
    "How many {a} does a {b} have?", "How old is the {a}?", "How long is a {a}?", "How do I fix a {a}?",
    "How do I learn {a}?", "What do you think about {a}?", "Do {a} {b}?", "Can a {a} {b}?", "Is {a} better than {b}?",
    "I do not understand {a}", "I feel {a}", "We are {a}", "You are a {a}", "Let us talk about {a}", "Do you like {a}?",
    "What is your favorite {a}?", "Is it true that {a} {b}?", "What would happen if {a} {b}?", "Who invented the {a}?",
    "Write an essay about {a} and {b}", "Write a letter to my {a}", "Sing a song about {a}", "Should I {a} or {b}?",
    "Compare {a} with {b}", "Solve the {a} problem", "Why does the {a} {b}?", "How does a {a} work?", "What if {a}?",
)  # fmt: skip
"""Questions that were not taught, and that none of the tools of the corpus could be for."""
