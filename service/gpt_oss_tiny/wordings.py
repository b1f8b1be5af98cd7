"""Data: more ways to ask for what the tools of `tools` do. `[a|b]` stands for a or b."""

from __future__ import annotations

from typing import Final

WORDINGS: Final[dict[str, tuple[str, ...]]] = {
    "the weather": (
        "[What is|What's|How is|How's] the weather [like in|in|looking in|over in] {city} [today|now|right "
        "now|outside]?",
        "[Tell me|Show me|Give me|Check|Get|Look up|Find out] [the weather|the current weather|the forecast] "
        "[in|for] {city}", "[Is it|Will it be] [raining|snowing|sunny|warm|cold|windy|cloudy|hot] in {city}"
        "[?| today?| now?| tomorrow?]", "How [warm|cold|hot] is it in {city} [today|right now|outside]?",
        "[weather|forecast|temperature] {city}", "{city} weather",
        "[Do I need|Should I take] [a jacket|a coat|an umbrella] "
        "in {city}?",
        "[I am going to|I'm flying to|We are traveling to|I will be in] {city}. [What is the weather|How is the "
        "weather|What's the weather like there]?",
        "[What is|What's|Tell me|Give me] the temperature in {city} in {unit}",
        "Could I get the weather in {city} in {unit}?", "What should I wear in {city} today?",
    ),
    "the time": (
        "[What is|What's|Tell me|Give me|Check|Get] the [time|current time|local time] [in|for] {city}[| now| right "
        "now]",
        "[What time is it|How late is it] [now in|right now in|in] {city}?", "current time {city}", "time {city}",
    ),
    "a search": (
        "[Search|Look|Google] for {query}", "[Search|Look up|Find|Google] \"{query}\"",
        "[Search|Look up|Google] {query}",
        "[Can you search|Please search] [for|the web for|online for|the internet for] {query}", "search: {query}",
        "[Find out|Find something|Find everything|Find articles|Find results] about {query}",
        "[Search|Find|Look up] \"{query}\" [online|on the web|on the internet]", "What can you find about {query}?",
        "[I need|Get me|Show me|I am looking for] information [on|about] {query}", "Use the web to find {query}",
        "[Search|Look] the web and tell me about {query}",
        "[Do|Run|Start] a web search for [{query}|\"{query}\"|'{query}']",
        "[Give me|Show me|Get me] {count} results [for|about] {query}", "Search [the web for|for] '{query}'",
    ),
    "a file": (
        "[Read|Open|Show|Display|Print|View|Load|Get] [the file|my file|the contents of|the text of|file] {path}",
        "[Read|Open|Show me|Print|View|cat|Check|Get|See] {path}", "What [is|does it say|is written] in {path}?",
        "[Let me see|I need to see|I want to read|Let's look at] {path}", "[Read|Open] the file [called|named] {path}",
        "[Read|Open] [\"{path}\"|'{path}'|`{path}`]", "What's [in|inside] [{path}|the file {path}|`{path}`]?",
        "[Read me|Tell me] what [is in|it says in] {path}", "contents of {path}",
    ),
    "writing a file": (
        "[Write|Save|Put|Store] [\"{text}\"|'{text}'|the text \"{text}\"] [to|in|into] [{path}|the file "
        "{path}|`{path}`]",
        "[Create|Make|Write] [a file|the file|a new file] [{path}|called {path}|named {path}] [with the "
        "content|containing|"
        "with the text|that contains] \"{text}\"",
    ),
    "a folder": (
        "[List|Show|Show me|Print|Give me] [the files in|the contents of|all files in|everything in] {folder}",
        "[What|Which files] [is|are] [in|inside] the [folder|directory] {folder}?", "[ls|dir|list] {folder}",
        "[List|Show] the [folder|directory] {folder}", "What do I have in the folder {folder}?",
    ),
    "deleting a file": (
        "[Delete|Remove|Erase|Trash] [the file|my file|`{path}`, the file|file] {path}".replace("`{path}`, the file|",
        ""),
        "[I want to|I need to|Please] [delete|remove] {path}", "[Delete|Remove] [`{path}`|\"{path}\"]",
        "{path} can be [deleted|removed]",
    ),
    "a command": (
        "[Run|Execute|Start|Do] [`{command}`|\"{command}\"|'{command}'|this: {command}|this command: "
        "{command}|{command}]",
        "[Run|Execute] [the command|the shell command|in the terminal|in bash|a shell with] "
        "[`{command}`|\"{command}\"]",
        "[What is|What's|Show me|Give me] the output of [`{command}`|\"{command}\"|{command}]?", "$ {command}",
        "[Please run|Can you run|Now run|I want you to run] {command}", "[Run|Execute]: {command}",
        "Use [the shell|bash|the terminal] to [run|execute] [`{command}`|{command}]",
    ),
    "an email": (
        "[Send|Write|Compose] an email to {to} [saying|that says|with the text|with the body] [\"{body}\"|'{body}']",
        "[Email|Mail] {to} [and say|and write|the message|the text] \"{body}\"", "[Send|Email|Mail] \"{body}\" to {to}",
        "[Send|Write] [an email|a mail] to {to} [about {subject}|with the subject \"{subject}\"|with subject "
        "{subject}]",
        "[Send|Write] [an email|a mail] to {to}, subject \"{subject}\", [body|text|message] \"{body}\"",
    ),
    "a message": (
        "[Tell|Text|Message|Notify|Inform] {who}: [{text}|\"{text}\"]", "[Send|Write] {who} \"{text}\"",
        "[Send|Text] \"{text}\" to {who}",
        "[Send a message|Send a text|Send an SMS] to {who}[: {text}| saying \"{text}\"]",
        "Say \"{text}\" to {who}", "Let {who} know that {text}", "Send {who} [a message|a text]: [{text}|\"{text}\"]",
    ),
    "a user": (
        "[Look up|Find|Get|Show me|Fetch|Search for] [the user|user|the person|the profile of] {who}",
        "[Who is|What do we know about] [{who}|the user {who}]?",
        "[Give me|Get me|I need] the [data|details|info] of {who}",
    ),
    "a contact": (
        "[Add|Create|Save|Store] [a contact|a new contact|the contact] [{who} with|named {who} with|called {who} with] "
        "[email|the email|the address] {email}",
    ),
    "a stock price": (
        "[What is|What's|Tell me|Get|Check|Show me] the [stock price|share price|price|stock] of {symbol}",
        "[How is|How's] {symbol} [doing|trading today|doing today]?", "{symbol} [stock|price|quote|share price]",
        "[How much is|How much does] [{symbol}|one share of {symbol}|{symbol} stock] [worth|cost] [now|today|]?",
    ),
    "a price": (
        "[What is|What's|Tell me|Find|Get] the price of [the {item}|a {item}|{item}]", "How much [is|for] the {item}?",
        "[What does|How much does] [the {item}|a {item}|{item}] cost?",
    ),
    "an order": (
        "[Where is|Where's|Find|Track|Check|Look up|Show] [order|my order|the order|package] {id}",
        "[What is|What's|Tell me|Check|Get] the status of [order|my order|the order] {id}", "[order|status|track] {id}",
    ),
    "cancelling an order": ("[I'd like to|I need to|I want to|Please] cancel [order|my order|the order] {id}",),
    "buying": (
        "[Buy|Order|Purchase|Get] [me |]{count} {item}[| for me| from the store]",
        "[I need|I'd like|I'll take] {count} {item}",
        "Put {count} {item} [in|into] the cart",
    ),
    "a timer": (
        "[Set|Start|Create|Make] [a timer|me a timer|a countdown|the timer] [for|of] {minutes} minutes",
        "[timer|Timer for|Countdown of] {minutes} minutes", "[Set|Start] a {minutes}[-| ]minute [timer|countdown]",
        "[Remind me|Tell me] [in|after] {minutes} minutes with a timer",
    ),
    "an alarm": (
        "[Set|Create|Make] [an alarm|my alarm|the alarm|me an alarm] [for|at] {time}",
        "Wake me[| up] at {time}[| tomorrow]",
        "[alarm|Alarm for] {time}", "[I have to|I need to|I must] [get up|wake up] at {time}",
    ),
    "a reminder": (
        "Remind me [to|about|of] {text} at {time}", "[Set|Add|Create] a reminder [to|for|about] {text} at {time}",
        "[At|By] {time} remind me [of|to] {text}", "[Set|Add|Create] [a reminder|the reminder] [\"{text}\"|: {text}]",
    ),
    "an event": (
        "[Create|Add|Make|Schedule|Plan|Book] [an event|a meeting|an appointment] [called|named|titled] "
        "[{title}|\"{title}\"] "
        "[on|for] {date}[| at {time}]",
        "[Add|Put] [\"{title}\"|{title}] [to|on|in] [my calendar|the calendar] [on|for] {date}[| at {time}]",
        "[Schedule|Book|Plan] \"{title}\" [on|for] {date}[| at {time}]",
    ),
    "the calendar": (
        "[What is|What's|Show me what is] on my [calendar|schedule|agenda] [on|for] {date}?",
        "[Show|Show me|List|Get|Check] my [meetings|events|appointments|calendar] [on|for] {date}",
        "[Am I|Are we] [free|busy] on {date}?",
    ),
    "a note": (
        "[Make|Take|Create|Write|Add|Save] a note[: {text}| that says \"{text}\"| saying \"{text}\"| \"{text}\"]",
        "[Note|Jot down|Write down]: [{text}|\"{text}\"]",
    ),
    "a task": (
        "[Add|Put] [{text}|\"{text}\"] [to|on] [my list|my todo list|my task list|the list]", "todo: {text}",
        "[Create|Add|Make] [a task|a todo|a new task][: {text}| \"{text}\"| called {text}]",
        "[Create|Add] a {priority} priority [task|todo][: {text}| \"{text}\"]",
    ),
    "a translation": (
        "[Translate|Please translate|Can you translate] [\"{text}\"|'{text}'|{text}] [to|into] {language}",
        "[Translate|Convert] [the text|the sentence|the words|this text|the phrase] [\"{text}\"|'{text}'] [to|into] "
        "{language}",
        "[How do you say|What is|What's|How do I say|How would you say] [\"{text}\"|'{text}'|{text}] in {language}?",
        "Translate [to|into] {language}: [{text}|\"{text}\"]", "[Say|Write|Give me] \"{text}\" in {language}",
        "{language} [translation|for]: {text}", "I need \"{text}\" in {language}",
    ),
    "an addition": (
        "[Add|Sum|Add up|Please add] {a} and {b}",
        "[What is|What's|Compute|Calculate|How much is|Tell me] {a} [+|plus] {b}",
        "[Use the tool to|Use a tool and] [add|sum] {a} and {b}",
    ),
    "a product": (
        "[What is|What's|Compute|Calculate|How much is|Tell me] {a} [*|times|x|multiplied by] {b}",
        "[Multiply|Please multiply] {a} [and|by|with] {b}",
    ),
    "a calculation": (
        "[Calculate|Compute|Evaluate|Solve|Work out|What is|What's|How much is] [{sum}|\"{sum}\"|`{sum}`]",
        "[Use the calculator|Calculate for me|Do the math]: {sum}",
    ),
    "a conversion": (
        "[Convert|Change|Exchange|Turn] {amount} {from} [to|into|in] {to}", "{amount} {from} [to|in] {to}",
        "[How much is|What is|How many {to} are|What's] {amount} {from} in {to}?".replace("How many {to} are|", ""),
        "[How many {to} are|How many {to} do I get for] {amount} {from}?",
    ),
    "units": (
        "[Convert|Change|Turn] {amount} {from} [to|into|in] {to}",
        "[What is|What's|How much is] {amount} {from} in {to}?",
        "How many {to} [are|are in|make|is] {amount} {from}?",
    ),
    "a flight": (
        "[Find|Search|Book|Show me|Get me|I need] [a flight|flights|the flights] from {from} to {to}[| on {date}]",
        "[Are there|What are the|Look for] flights from {from} to {to}[| on {date}]?",
        "I want to fly from {from} to {to} on {date}",
    ),
    "a route": (
        "[Give me|Show me|Get|Find] [directions|the route|the way] from {from} to {to}",
        "How [far|long] is [it|the way] from {from} to {to}?",
    ),
    "a hotel": (
        "[Book|Find|Get me|Search for|I need|Reserve] a [hotel|room|hotel room] in {city}[| for {nights} nights]",
        "[Find|Show me|List] hotels in {city}",
    ),
    "a restaurant": (
        "[Find|Recommend|Show me|Get me] [a restaurant|restaurants|a place] [with|for|that has] {food} in {city}",
        "[Where can I|Where do I] [eat|get|find] {food} in {city}?",
    ),
    "the news": (
        "[What is|What's] [the latest|the news|new] [on|about] {topic}?",
        "[Get|Show me|Give me|Find|Read me] [the news|"
        "the latest news|headlines] [on|about] {topic}", "[news|headlines] about {topic}",
    ),
    "music": (
        "[Play|Start|Put on] [the song |the track |]{song}", "[Play|Start|Put on] \"{song}\"",
        "[I want to|I'd like to|Let me] [hear|listen to] {song}", "[Play|Put on] [some|a bit of] {song}",
    ),
    "the light": (
        "[Turn|Switch] [{state} the lights|the lights {state}|the light {state}|{state} the light] in the {room}",
        "[Turn|Switch] the {room} [light|lights|lamp] {state}",
    ),
    "the temperature": (
        "[Set|Heat|Bring|Warm|Cool] the {room} to {degrees}[| degrees]",
        "[Set|Change|Put] the [temperature|thermostat|heating] in the {room} to {degrees}[| degrees]",
    ),
    "a web page": (
        "[Open|Fetch|Get|Load|Visit|Download|Read|Show me|Check] [the page |the website |the URL |]{url}",
        "What [is on|does it say on|can you see on] [{url}|the page {url}]?", "[GET|curl|fetch] {url}",
    ),
    "a query": (
        "[Show|List|Get|Select|Give me] [the rows of|all rows of|everything in] the table {table}",
        "[Show|Get|Give me] [the first|] {count} rows [of|from] the table {table}",
    ),
    "a definition": (
        "[What is|What's|Give me|Look up|Find|Get] the [definition|meaning] of [{word}|the word {word}|\"{word}\"]",
        "What does [{word}|\"{word}\"|the word \"{word}\"] mean?", "[define|Define the word|Define the term] {word}",
    ),
    "a random number": (
        "[Give me|Pick|Draw|Choose|Generate] a random number [up to|below|from 1 to|between 1 and] {max}",
        "[Roll|Throw] a [dice|die] with {max} sides",
    ),
    "a payment": (
        "[Send|Pay|Transfer|Give] {amount} dollars to {who}", "[Send|Pay|Give] {who} {amount}[| dollars| euros]",
    ),
    "a picture": (
        "[Draw|Paint|Create|Generate|Make] [a picture|an image|a drawing|a painting] of {what}",
        "[Draw|Paint] [me |]{what}",
        "[I want|I need|Show me] [a picture|an image] of {what}",
    ),
}  # fmt: skip
