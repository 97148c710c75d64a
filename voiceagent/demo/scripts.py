"""What callers of the demonstration do, by what they call for. Data: a script is a tuple of acts, its texts have ``{fields}``."""

from __future__ import annotations

from dataclasses import dataclass

from voiceagent.demo.caller import Act, Asked, EarGone, HangUp, Interrupt, Keys, Operator, Say, Sound, Wait
from voiceagent.demo.vendors import Trouble


@dataclass(frozen=True, slots=True)
class Script:
    """One way in which a call may go. ``weight``: how often, beside the others; ``of``: the agents that it fits."""

    name: str
    weight: float
    acts: tuple[Act, ...]
    of: str = "restaurant"


_BOOK = (
    Say("Hi, I'd like to book a table for {party} on {day} at {time}."),
    Say("My name is {name}."),
)
_THANKS = (Say("That's all, thank you very much."), Say("Thank you, goodbye."))
_MENU_CUT = (Say("What is on your menu?"), Interrupt("Oh wait, sorry. Do you have parking?", 2600))

#: Of callers who are new, or nobody in particular.
STRANGERS: tuple[Script, ...] = (
    Script("book", 14, (*_BOOK, *_THANKS)),
    Script("book and ask", 9, (*_BOOK, Say("Do you have parking?"), Say("And are dogs welcome?"), *_THANKS)),
    Script("book bit by bit", 8, (
        Say("Hello, I need a table."),
        Say("For {party}."),
        Say("On {day}, I think, at {time}.", halt="at"),
        Say("{name}."),
        *_THANKS,
    )),
    Script("hours", 9, (Say("Hello, when are you open?"), Say("And where are you exactly?"), *_THANKS)),
    Script("menu, interrupted", 9, (*_MENU_CUT, *_BOOK, *_THANKS)),
    Script("menu, with nods", 5, (
        Say("What do you have on the menu today?"),
        Sound(text="mhm", after_ms=1800),
        Sound(text="okay", after_ms=2600),
        Say("That sounds lovely."),
        *_THANKS,
    )),
    Script("cough", 5, (*_BOOK[:1], Sound(ms=240, after_ms=700), Say("{name}."), *_THANKS)),
    Script("impatient", 5, (
        Say("I want a table for {party}."),
        Interrupt("On {day}.", 500),
        Interrupt("At {time}, quickly please.", 500),
        Interrupt("{name}.", 400),
        Interrupt("Yes, yes, goodbye.", 900),
    )),
    Script("silent", 5, (Wait(60_000),)),
    Script("goes silent", 3, (*_BOOK[:1], Wait(70_000))),
    Script("hangs up in the greeting", 6, (HangUp(mid=True),)),
    Script("hangs up mid answer", 5, (Say("What is on your menu?"), HangUp(mid=True))),
    Script("wants a person", 5, (Say("Can I speak to a real person, please?"), Wait(4000))),
    Script("presses keys", 2, (Keys("20"), Say("Sorry, wrong button. When are you open?"), *_THANKS)),
    Script("closed day", 3, (Say("A table for {party} on Monday at {time}, please."), Say("Then on {day}."), Say("{name}."), *_THANKS)),
    Script("party too large", 2, (Say("I'd like a table for fifteen people on {day}."), *_THANKS)),
    Script("slow model", 4, (*_BOOK, Trouble("model_slow", 3600), Say("Do you have parking?"), *_THANKS)),
    Script("model refuses once", 3, (Trouble("model_refuses", 200), *_BOOK, *_THANKS)),
    Script("model cut off", 3, (Trouble("model_cut"), Say("What is on your menu?"), *_THANKS)),
    Script("model down", 3, (*_BOOK[:1], Trouble("model_refuses", 300, 12), Say("{name}."), Say("Hello?"), Say("Hello, are you there?"), Wait(9000))),
    Script("voice fails once", 3, (Say("Where are you?"), Trouble("voice_fails", 150), Say("And when are you open?"), *_THANKS)),
    Script("voice down", 2, (Say("Where are you?"), Trouble("voice_fails", 150, 12), Say("And when are you open?"), Say("Hello?"), Say("Hello?"), Wait(9000))),
    Script("recogniser away", 3, (*_BOOK[:1], EarGone(4200), Say("{name}."), *_THANKS)),
    Script("recogniser gone", 2, (*_BOOK[:1], EarGone(), Wait(20_000))),
    Script("line lost", 3, (*_BOOK[:1], HangUp("closed"))),
    Script("no media", 1, (*_BOOK[:1], Wait(3000), HangUp("silent"))),
    Script("restart", 2, (*_BOOK, Asked("drain"), Wait(8000))),
    Script("operator whispers", 2, (
        *_BOOK[:1],
        Operator("listen"),
        Operator("whisper", "They are a regular: offer the table by the window."),
        Say("{name}."),
        *_THANKS,
    )),
    Script("operator says", 1.5, (
        Say("What is on your menu?"),
        Operator("say", "One moment please, today we also have fresh truffles.", mid=True),
        Say("Oh, lovely."),
        *_THANKS,
    )),
    Script("operator takes over", 2, (
        Say("I want to complain about my last visit."),
        Operator("take_over", "They complained about a cold soup; a dessert was offered on the house.", 14_000),
        Say("A table for {party} on {day} at {time}, then."),
        Say("{name}."),
        *_THANKS,
    )),
    Script("operator ends", 1, (Say("You are all idiots."), Operator("listen"), Operator("end"), Wait(5000))),
    Script("many questions", 3, (
        Say("Hello, I have a couple of questions."),
        Say("When are you open?"),
        Say("And where are you exactly?"),
        Say("Is there parking?"),
        *_MENU_CUT,
        Say("Do you have anything vegetarian?"),
        Say("And gluten-free pasta?"),
        Say("My brother is allergic to nuts. Can the kitchen handle that?"),
        Say("Are dogs welcome?"),
        *_BOOK,
        Say("Could you repeat that, please?"),
        Say("Do you take cards?"),
        Say("And what is on the menu again?"),
        Sound(text="mhm", after_ms=2500),
        Say("Great."),
        *_THANKS,
    )),
    Script("check-up", 5, (Say("I'd like to come in for a check-up."), Say("Thursday is better."), Say("My name is {name}."), *_THANKS), "dentist"),
    Script("costs", 3, (Say("What does it cost?"), Interrupt("Sorry, without the cleaning?", 2200), *_THANKS), "dentist"),
    Script("pain", 3, (Say("My tooth hurts badly."), Wait(5000)), "dentist"),
    Script("cancels", 3, (Say("I have to cancel my appointment on Tuesday."), Say("No, not now."), *_THANKS), "dentist"),
    Script("router", 6, (
        Say("My internet does not work."),
        Say("The light is red."),
        Wait(14_000),
        Say("It is still red."),
        Say("Now it blinks."),
        Wait(13_000),
        Say("It's green!"),
        *_THANKS,
    ), "support"),
    Script("technician", 4, (Say("The internet is down again."), Interrupt("I have done all that. A technician, please.", 1500), Wait(4000)), "support"),
    Script("slow line", 3, (Say("It's so slow in the evening."), Trouble("model_slow", 3100), Say("In the cellar."), *_THANKS), "support"),
    Script("zimmer", 6, (
        Say("Guten Tag, haben Sie ein Zimmer frei?"),
        Say("Zwei Nächte, zwei Personen."),
        Say("Ja, gern."),
        Say("Wann gibt es Frühstück?"),
        Say("Danke, auf Wiederhören!"),
    ), "hotel"),
    Script("stumm", 1, (Wait(60_000),), "hotel"),
)  # fmt: skip

#: Of one caller, call after call: what they tell, what they refer to later, and what they take back.
JOURNEYS: tuple[tuple[str, tuple[tuple[Act, ...], ...]], ...] = (
    ("restaurant", (
        (*_BOOK, Say("Please remember that I'm allergic to nuts."), *_THANKS),
        (Say("Hello, it's {first}. A table for {party} on {day} at {time}, please."), Say("Yes."), *_THANKS),
        (Say("What do you know about me?"), Say("I'd like to sit by the window, as always."), *_BOOK[:1], *_THANKS),
        (Say("Please remember that I'm not allergic to nuts after all, but to shellfish."), *_THANKS),
        (Say("What do you remember about my allergies?"), *_BOOK[:1], *_THANKS),
    )),
    ("restaurant", (
        (Say("Hello, my name is {name}."), Say("Please remember that we usually come with a party of {party}."), *_THANKS),
        (Say("It's {first} again. A table on {day} at {time}, please."), Say("Yes, please."), *_THANKS),
        (Say("Please remember that I like to sit on the terrace."), *_THANKS),
        (*_MENU_CUT, Say("A table on {day} at {time}, my usual one."), Say("Yes."), *_THANKS),
        (Say("Actually, I prefer to sit in the garden now, please note that I like to sit in the garden."), *_THANKS),
    )),
    ("restaurant", (
        (*_BOOK, Say("I'm a vegetarian, by the way."), *_THANKS),
        (Say("What did I book last time?"), *_BOOK[:1], *_THANKS),
        (Say("Please remember that my phone number has changed, I'm best reached in the evening."), *_THANKS),
        (Say("Please forget my phone number."), Say("Yes."), *_THANKS),
        (Say("What do you know about me?"), *_THANKS),
    )),
    ("support", (
        (Say("My name is {name}. My internet does not work."), Say("The light is red."), Wait(12_000), Say("It's green again."), *_THANKS),
        (Say("It's {first}, the internet is down again."), Say("Red."), Wait(9_000), Say("It is still red."), Say("A technician, please."), Wait(4000)),
        (Say("What did I tell you last time?"), Say("How high is my bill?"), *_THANKS),
        (Say("Please remember that the router is in the cellar."), *_THANKS),
    )),
    ("dentist", (
        (Say("My name is {name}, I'd like a check-up."), Say("Tuesday is fine."), Say("Please remember that I'm afraid of needles."), *_THANKS),
        (Say("I have to cancel my appointment on Tuesday."), Say("No, thank you."), *_THANKS),
        (Say("Do you remember what I'm afraid of?"), Say("Good. A check-up on Thursday, please."), *_THANKS),
    )),
)  # fmt: skip

FIRST_NAMES = (
    "Alice Ben Clara David Emma Felix Grace Henry Irene James Kate Liam Maria Noah Olivia Peter Quinn Rosa Simon Tess "
    "Victor Wendy Amir Bianca Carlos Dana Elif Farid Hanna Ivan Jonas Leila Mei Nadia Omar Priya Ravi Sofia Tomas Yara"
).split()
LAST_NAMES = (
    "Adams Bakker Castell Dunmore Ellery Fenwick Garland Hollis Irving Jansen Keller Lindqvist Marlow Novak Osborne "
    "Pryce Quimby Rowan Sandoval Thorne Underhill Vance Whitlock Yates Zeller Ashby Brandt Corwin Delacroix Everett"
).split()
PARTIES = ("two", "three", "four", "five", "six")
DAYS = ("Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
TIMES = (
    "noon",
    "half past twelve",
    "six o'clock",
    "half past six",
    "seven o'clock",
    "half past seven",
    "eight o'clock",
)
