"""Tables of English that the search needs: function words, irregular forms, number words, signs of a question about the past."""

from __future__ import annotations

import re

#: Words that say nothing of what a text is about. Negations and modal verbs too: they decide no search.
STOP = frozenset(
    """
    a about above after again against ain all also am an and any anyone anything are aren arent as at be because been
    before being below between both but by can cannot cant could couldnt did didnt do does doesnt doing dont down during
    each ever for from further get gets got had hadnt has hasnt have havent having he hed hell her here hers herself hes
    him himself his how i id if ill im in into is isnt it itll its itself ive just ll me might more most must my myself
    no nor not now of off oh ok okay on once only or other our ours ourselves out over own please quite re really same
    shall shant she shed shes should shouldnt so some something such than that thatll thats the their theirs them
    themselves then there theres these they theyd theyll theyre theyve this those through to too under until up us ve
    very was wasnt we wed well were werent weve what whats when where which while who whom whose why will with wont
    would wouldnt yeah yes you youd youll your youre yours yourself yourselves youve
    """.split()
)

_NUMBERS = """
    zero 0 one 1 two 2 three 3 four 4 five 5 six 6 seven 7 eight 8 nine 9 ten 10 eleven 11 twelve 12 thirteen 13
    fourteen 14 fifteen 15 sixteen 16 seventeen 17 eighteen 18 nineteen 19 twenty 20 thirty 30 forty 40 fifty 50
    sixty 60 seventy 70 eighty 80 ninety 90 hundred 100 thousand 1000 first 1 second 2 third 3 fourth 4 fifth 5 sixth 6
    seventh 7 eighth 8 ninth 9 tenth 10
"""

#: Each line: a word, and the forms of it that no rule leads back to it.
_IRREGULAR = """
    eat: eaten ate
    become: became become
    begin: began begun
    bite: bit bitten
    break: broke broken
    bring: brought
    build: built
    buy: bought
    catch: caught
    child: children
    choose: chose chosen
    come: came
    draw: drew drawn
    dream: dreamt
    drink: drank drunk
    drive: drove driven
    fall: fell fallen
    feel: felt
    fight: fought
    find: found
    fly: flew flown
    foot: feet
    forget: forgot forgotten
    freeze: froze frozen
    give: gave given
    go: went gone goes
    grow: grew grown
    hear: heard
    hide: hidden
    hold: held
    keep: kept
    know: knew known
    lead: led
    learn: learnt
    leave: left
    lend: lent
    lie: lying lain
    lose: lost
    make: made
    man: men
    mean: meant
    meet: met
    mouse: mice
    pay: paid
    person: people
        ride: rode ridden
    ring: rang rung
    run: ran
    say: said
    see: saw seen
    sell: sold
    send: sent
    shake: shook shaken
    shoot: shot
    sing: sang sung
    sit: sat
    sleep: slept
    speak: spoke spoken
    spend: spent
    stand: stood
    steal: stole stolen
    swim: swam swum
    take: took taken
    teach: taught
    tell: told
    think: thought
    throw: threw thrown
    tooth: teeth
    understand: understood
    wake: woke woken
    wear: wore worn
    wife: wives
    win: won
    woman: women
    write: wrote written
"""


def _forms() -> dict[str, str]:
    numbers = _NUMBERS.split()
    forms = dict(zip(numbers[::2], numbers[1::2], strict=True))
    for line in _IRREGULAR.strip().splitlines():
        word, _, inflected = line.strip().partition(": ")
        forms |= dict.fromkeys(inflected.split(), word)
    return forms


#: Irregular forms and number words, with the word that stands for them.
FORMS = _forms()

#: What shows that a question is about what was so before a change.
PAST = re.compile(
    r"\b(?:used to|previous(?:ly)?|former(?:ly)?|originally|original|earlier|back then|in the past|my old|old (?:number|address|email)"
    r"|at first|first (?:say|said|told)|before (?:that|it|i|we|they|he|she|the change)|had (?:i|you|he|she|they|we)|last time)\b"
)
