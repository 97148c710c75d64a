"""How English callers say what is worth remembering: the patterns of ``memory.core.rules``. Data only.

In every pattern the group ``v`` is the value, ``who`` a relation, ``what`` the thing of a favourite. Patterns are
searched without regard to case; ``(?-i:…)`` asks for it. What must not be read stands as U+FFFC and matches no letter.
"""

from __future__ import annotations

import re

from memory.core.language import Forgetting, Language, Rule, Scope
from memory.core.normal import DAY, MONTHS, NUMBER, TIME, WEEKDAYS

_STOP = (
    "i|i'm|i'd|i'll|i've|im|but|so|because|since|please|can|could|do|does|we|we're|my|our|you|your|which|that|that's|if|though|"
    "although|is|are|was|too|as|for|at|on|in|when|where|while|actually|also|then|there|it|it's|he|she|they|with|to|"
    "not|no|never|who|what|have|has|would|will|thanks|thank|okay|ok|right|anymore|any more|now|by|from|until|before|"
    "after|this|these|today|tonight|tomorrow|obviously|either|unless|except|anyway|hello|hi|let|let's|ideally|usually|always|"
    "again|and|or|nor|none|nothing|everything|anything|something|yes|yeah|nope|maybe|why|how|during|sorry|them|him|her|me|us"
)
_WORD = rf"(?!(?:{_STOP})\b)[a-zà-ÿ][a-zà-ÿ'-]*"
#: One thing, up to four words; a list of them.
_ONE = rf"(?:(?:a|an|any|the) )?+{_WORD}(?: {_WORD}){{0,3}}+"
_THING = rf"(?P<v>{_ONE})"
_LIST = rf"(?P<v>(?>{_ONE}(?:(?:,? (?:and|or|nor) |, ){_ONE}){{0,5}}+))"

_NO_NAME = (
    "the|a|an|and|sorry|fine|good|great|okay|ok|yes|no|well|just|not|here|there|calling|looking|trying|wondering|afraid|"
    "sure|interested|happy|glad|free|busy|late|back|me|my|mine|your|i|i'm|i'd|i'll|it|it's|that|this|what|who|how|actually|"
    "really|very|so|too|still|also|please|thanks|thank|hello|hi|allergic|vegetarian|vegan|for|to|from|with|under|on|in|at|"
    "tomorrow|today|tonight|later|soon|again|now|right|maybe|correct|perfect|wrong|spelled|spelt|irrelevant|private|unknown|is|was|if|"
    "english|german|french|italian|spanish|american|british|mum|mom|dad|god|jesus|because|but|or|as|we|you|he|she|they|"
    "mr|mrs|ms|miss|dr|doctor|anonymous|nobody|someone|muslim|jewish|catholic|hindu|sikh|buddhist|protestant|orthodox|irish|scottish|welsh|dutch|polish|greek|turkish|indian|"
    "chinese|japanese|korean|russian|canadian|australian|mexican|brazilian|portuguese|swiss|austrian|texan|european|african|asian|"
    "secret|nothing|none|never|going|kidding|joking|friend|customer|guest|member|vip|exactly|absolutely|indeed|definitely|certainly|"
    "whatever|sounds|nice|cool|alright|yep|yup|nope|nah|uh|um|hm|hmm|mhm|bye|goodbye|hang|hold|wait|one|two|three|four|five|six|seven|eight|nine|ten|"
    "maybe|perhaps|could|can|do|did|does|would|should|have|had|been|being|called|named|everyone|anyone|nobody|"
    + "|".join(WEEKDAYS)
)
_TITLE = r"(?:(?:mr|mrs|ms|miss|dr|doctor)\.? )?"
_NAME_WORD = rf"(?!(?:{_NO_NAME})\b)[a-zà-ÿ][a-zà-ÿ'’-]*"
_CAPITAL = rf"(?!(?i:{_NO_NAME}|{'|'.join(MONTHS)})\b)(?-i:[A-ZÀ-Þ])[a-zà-ÿ'’-]*"
_SPELLED = r"(?:[a-z][-. ]+){2,}[a-z]\b"
#: A name after words that promise one; a name that only its capitals show.
_NAME = rf"(?P<v>{_TITLE}(?:{_SPELLED}|{_NAME_WORD}(?: (?:(?:de|la|van|von|der|da|di) )*{_CAPITAL}){{0,3}}))(?!'s)"
_CAPITALS = rf"(?P<v>{_TITLE}(?:{_SPELLED}|{_CAPITAL}(?: (?:(?:de|la|van|von|der|da|di) )*{_CAPITAL}){{0,3}}))\b(?!'s)"
#: A last name said before the whole one: "Bond, James Bond".
_TWICE = rf"(?:(?P<last>{_CAPITAL}), (?={_CAPITAL} (?P=last)\b))?"
#: A name that was first said wrong: "Maria, no, sorry, Marta".
_SLIP = rf"(?:{_NAME_WORD},? (?:no|sorry|i mean|wait|or rather)[,.]? (?:(?:no|sorry|wait)[,.]? )?(?:it's |i mean )?)?"

_GREETED = r"(?:^|[,.!] |\b(?:hello|hi|hey|yes|yeah|morning|afternoon|evening),? )"
_PHONE = rf"(?P<v>(?:plus |\+)?(?:(?:\d[\d() ./-]*|(?:double|triple|{NUMBER}|oh|o|nought)\b)[ ,-]*){{1,20}})"
_PLACE_NAME = r"(?-i:[A-ZÀ-Þ])[\wà-ÿ'-]*(?: (?:(?:de|la|am|on|upon) )*(?-i:[A-ZÀ-Þ])[\wà-ÿ'-]*)*"
_PLACE = rf"(?P<v>{_PLACE_NAME})"
_STREET = r"(?P<v>(?:\d+[a-z]?|[a-z-]+)(?: [\w'-]+){1,4}? (?:street|road|avenue|lane|square|drive|close|way|court|place|boulevard)(?:,? (?-i:[A-Z])[\w'-]*)*)"
_DATE = r"(?P<v>[\w ,-]{3,40}?)(?=[.!?;]|$| and\b| but\b)"
_NO_FOOD = rf"(?!{NUMBER}\b|a |much|out\b|breakfast|lunch|dinner|late\b|early|here|alone|enough|lots|well\b|people|guests|visitors|children|kids|time|another|more\b|meetings?\b|calls?\b|that|there)"
#: A statement that holds always, not "on Fridays" or "before noon".
_ALWAYS = r"(?! (?:\ufffc|on|before|after|when|at|in|during|if|unless|today|tonight|tomorrow|until|while|right now|sometimes)(?:\b|(?<=\ufffc)))"
_I_AM = r"\b(?:i'm|i am|im)"
_DO = r"\bi (?:really |usually |always |generally |normally |much |actually |still )?"

RELATIONS = (
    "brother|sister|mother|mum|mom|father|dad|wife|husband|partner|girlfriend|boyfriend|fiancee|fiance|son|daughter|"
    "child|kid|baby|grandmother|grandma|grandfather|grandad|aunt|uncle|cousin|nephew|niece|friend|boss|colleague|"
    "neighbour|neighbor|flatmate|roommate|assistant|secretary|carer|dog|cat|mother-in-law|father-in-law"
)
_WHO = rf"\b(?:my|our) (?:\w+est |older |younger |little |big |best )?(?P<who>{RELATIONS})"
_FAVOURITES = r"(?P<what>food|dish|meal|dessert|drink|wine|beer|table|colour|color|music|team|film|movie|book|restaurant|pizza|pasta|cuisine|season|sport|band|song|flower|flowers|room|waiter)"


def _r(
    slot: str, pattern: str, firm: float = 0.9, *, asked: bool = False, retracts: bool = False, corrects: bool = False,
    value: str = "",
) -> Rule:  # fmt: skip
    return Rule(slot, re.compile(pattern, re.IGNORECASE), firm, value, asked, retracts, corrects)


_FILLER = r"^\W*(?:(?:yes|yeah|yep|sure|of course|okay|ok|um|uh|er|well|oh|so|certainly|please|it's|it is|that's|that is|that would be|that'll be|you can use|just)\b[,.!]? ?)*"
_NOPE = r"^\W*(?:no|nope|sorry|wait|actually)\b[,.!]? ?(?:(?:no|sorry|wait|actually)[,.!]? )*"
_END = r"(?=(?:,? (?:please|thanks|thank you|actually|in fact|sir|madam|with an? .*|for me))?\W*$)"

RULES: tuple[Rule, ...] = (
    # Corrections and prohibitions first: words that one rule has read no later one reads again.
    _r("identity.name", rf"{_NOPE}(?:(?:it's|it is|that's|the name is|the name's|i'm) )?{_CAPITALS}{_END}", 0.95, asked=True, corrects=True),
    _r("identity.name", rf"{_NOPE}(?:it's|it is|the name is|the name's|i'm) {_CAPITALS}(?=[,.!]|$)", 0.95, corrects=True),
    _r("identity.name", rf"^\W*(?:it's|it is|that's|i'm) {_CAPITALS},? (?:actually|not {_CAPITAL})", 0.95, corrects=True),
    _r("identity.name", rf"\bnot {_CAPITAL}[,.]? (?:it's|but|i'm)? ?{_CAPITALS}", 0.95, corrects=True),
    _r("contact.phone", rf"{_NOPE}(?:it's |it is |the number is )?{_PHONE}{_END}", 0.95, asked=True, corrects=True),
    _r("identity.name", rf"\b(?:my name(?:'s not| is not| isn't)|(?:have|got|had) my name wrong|(?:got|have|had) me (?:down )?as)(?: {_CAPITAL})?[,.]? (?:but |it's |it is |actually |really |i'm )+{_CAPITALS}", 0.95),
    _r("contact.never", r"(?:\bplease )?\b(?:never|don't ever|do not ever|you must never|you must not|please don't|please do not|don't|do not) (?P<v>(?:(?:call|ring|phone|text|e-?mail|contact|write to|send|leave|give|tell|mention|use|put) (?:me|my|it|anything|messages?|a message)|(?:call|ring|phone) (?:before|after|during|at|on))\b[\w '-]*?(?=[.,!?;]|$| because| but| please))", 0.95),
    # The name.
    _r("identity.name", rf"\bmy (?:full |first |last |real |correct |actual )?name(?:'s| is| would be)(?: actually| really| still)?,? {_SLIP}{_NAME}"),
    _r("identity.name", rf"\b(?:under|on|in) (?:the )?name (?:of )?{_SLIP}{_NAME}"),
    _r("identity.name", rf"(?:^|[,.!] )(?:and )?(?:the )?name(?:'s| is) {_SLIP}{_TWICE}{_CAPITALS}"),
    _r("identity.name", rf"\b(?:i'm|i am) called {_NAME}"),
    _r("identity.name", rf"\b(?:just |please |you can |everyone |everybody |people |friends )+calls? me {_CAPITALS}"),
    _r("identity.name", rf"^\W*call me {_CAPITALS}{_END}"),
    _r("identity.name", rf"{_GREETED}(?:this is|it's|here is) {_CAPITALS}(?= speaking| here| calling| again|[,.!]|$)", 0.85),
    _r("identity.name", rf"{_GREETED}(?:i'm|i am) {_CAPITALS}(?=[,.!]|$| and i\b| from | speaking| calling)", 0.85),
    _r("identity.name", rf"{_GREETED}this is {_NAME} speaking\b", 0.75),
    _r("identity.name", rf"{_GREETED}{_CAPITALS} (?:speaking|here)\b(?! (?:is|are|was|and)\b)", 0.85),
    _r("identity.name", rf"{_FILLER}(?:under |in the name of )?{_SLIP}{_TWICE}{_CAPITALS}{_END}", asked=True),
    _r("identity.name", rf"{_FILLER}(?P<v>{_NAME_WORD}(?: {_NAME_WORD})?){_END}", 0.7, asked=True),
    # How to reach the caller.
    _r("contact.phone", rf"\bmy (?:new |mobile |cell |cellphone |home |work |phone |telephone |contact |current |best |correct )*(?:number|phone|mobile|cell|telephone)(?:'s| is)(?: now| actually)?,? {_PHONE}"),
    _r("contact.phone", rf"\b(?:call|ring|reach|phone|text|contact) me (?:back )?(?:on|at) {_PHONE}"),
    _r("contact.phone", rf"\b(?:changed my|have a new|got a new|there's a new) (?:phone |mobile )?number[,.:]? (?:and |so )?(?:now )?(?:it's |it is |which is |that's )?{_PHONE}", 0.95),
    _r("contact.phone", rf"(?:^|[,.!] )(?:and )?(?:the )?(?:number|phone number)(?:'s| is) {_PHONE}"),
    _r("contact.phone", rf"{_FILLER}{_PHONE}{_END}", asked=True),
    _r("contact.email", r"\bmy (?:new |work |private )?e-?mail(?: address)?(?:'s| is) (?P<v>[\w.+-]+@[\w.-]+\w|[\w. -]+ at [\w-]+(?: dot [\w-]+)+)"),
    _r("contact.email", rf"{_FILLER}(?P<v>[\w.+-]+@[\w.-]+\w|[\w. -]+ at [\w-]+(?: dot [\w-]+)+){_END}", asked=True),
    _r("contact.time", rf"\b(?:only |please )*(?:call|ring|phone|reach|contact) me (?:back )?(?:only )?(?P<v>(?:(?:before|after|between|until|from|around|at) {TIME}(?: (?:and|to|until) {TIME})?|(?:in the |on )?(?:mornings?|afternoons?|evenings?|weekends?|weekdays)(?: (?:before|after) {TIME})?|after work))(?=[.,!?]|$| please| only| because| if you)"),
    _r("contact.time", r"\b(?:you can |i can |i'm |i am )(?:best |only |usually |always )*(?:be )?(?:reach|reached|reachable|available|get|contact|call)(?: me)?(?: only)? (?P<v>(?:before|after|between|until|from|in the|on|at) [\w :'.]+?)(?=[,!?;]|\.(?!\w)|$| because| but)"),
    _r("contact.time", r"\b(?:the )?best time(?: to (?:call|reach|ring)(?: me)?)? (?:is|would be) (?P<v>[\w :'.]+?)(?=[,!?;]|\.(?!\w)|$| because| but)"),
    _r("contact.time", r"\b(?P<v>mornings|afternoons|evenings|weekends) (?:are|is) (?:best|better) for me\b"),
    _r("contact.time", rf"{_FILLER}(?:only |preferably |usually |always |any time |best |call me )*(?P<v>(?:(?:before|after|between|until|from|around|in the|on|at) [\w :'.]+?|mornings?|afternoons?|evenings?|weekends?)){_END}", asked=True),
    _r("contact.channel", r"\b(?:i(?:'d| would)? (?:always |really )?(?:prefer|rather have)|please (?:always |only )?(?:use|contact me by|reach me by|send me)|(?:contact|reach) me (?:only )?(?:by|via|through|on)|it's (?:best|better) to) (?:an? |to be (?:contacted|reached) by |to get an? )?(?P<v>text(?: messages?|s|ing)?|sms|whatsapp|e-?mails?|phone calls?|calls|letters?|the phone)(?=[.,!?]|$| please| instead| to| over| rather)"),
    _r("contact.channel", r"\bplease (?:just |always |only )(?P<v>text|e-?mail|call|ring) me\b(?! (?:back|when|if|tomorrow|today|on|at|before|after))"),
    _r("contact.channel", rf"{_FILLER}(?:i(?:'d)? prefer |by |via |on )?(?P<v>text(?: messages?)?|sms|whatsapp|e-?mail|phone|letter){_END}", asked=True),
    # What the caller eats.
    _r("diet.preference", rf"{_I_AM} (?:a |an |strictly |strict |now |actually |also |completely |fully |mostly |still )*(?P<v>vegetarian|vegan|pescatarian|pescetarian|flexitarian)\b{_ALWAYS}(?! restaurant| menu| option| place| meal| cook| chef)"),
    _r("diet.preference", r"\b(?:i|we)(?:'ve| have)? (?:only |always |just |recently |now )*(?:eat|keep|became|become|gone|went|turned|been) (?:a |an |strictly )?(?P<v>vegetarian|vegan|pescatarian|halal|kosher|plant[- ]based)\b"),
    _r("diet.preference", r"\bi (?:don't|do not|never) eat (?:any |red )?meat or fish\b", value="vegetarian"),
    _r("diet.preference", rf"{_I_AM} (?:not (?:a )?|no longer (?:a )?)(?P<v>vegetarian|vegan|pescatarian)(?: any ?more| these days)", 0.95, retracts=True),
    _r("diet.preference", rf"{_I_AM} no longer (?:a )?(?P<v>vegetarian|vegan|pescatarian)", 0.95, retracts=True),
    _r("diet.preference", r"\bi(?:'ve)? (?:stopped being|gave up being|given up being) (?:a )?(?P<v>vegetarian|vegan|pescatarian)", 0.95, retracts=True),
    _r("diet.preference", r"\bi(?:'ve)? (?:eat|started eating|started to eat) meat (?:again|now)\b", retracts=True),
    _r("health.allergy", rf"{_I_AM} (?:very |severely |highly |really |badly |terribly |also |slightly |quite |deathly )*(?:allergic|intolerant) to (?!stupid|(?:monday|tuesday|wednesday|thursday|friday|saturday|sunday)s?\b|work\b|exercise|people|early\b|mornings?|waiting|bad\b){_LIST}", 0.95),
    _r("health.allergy", rf"\bi(?:'ve| have)?(?: got| have)? (?:a |an )?(?:severe |bad |serious |strong |slight |mild )*(?P<v>(?!an?\b|the\b|some\b|bad\b|severe\b|food\b|got\b){_WORD}(?: (?!allergy\b|an?\b){_WORD})?) (?:allergy|intolerance)\b", 0.95),
    _r("health.allergy", rf"\bi(?:'ve| have)?(?: got| have)? an? (?:severe |bad |serious |strong |slight |mild )*(?:allergy|intolerance) to {_LIST}", 0.95),
    _r("health.allergy", rf"\b(?P<v>{_WORD}) (?:makes me (?:break out|itch|swell|very ill|sick|ill)|gives me (?:hives|a rash|an allergic reaction))", 0.9),
    _r("health.allergy", rf"\bi (?:get|break out in|come out in) (?:hives|a rash|spots) (?:from|when i eat|after eating) {_LIST}"),
    _r("health.allergy", rf"{_I_AM} (?P<v>lactose|gluten)[- ]intolerant\b", 0.95),
    _r("health.allergy", rf"{_FILLER}(?:only |mainly |i have )*(?!{NUMBER}\b|good |great|hang |hold |wait|pardon|excuse|fine|correct|exactly|unfortunately|sadly|perfect){_LIST}{_END}", 0.9, asked=True),
    _r("health.allergy", rf"{_I_AM} (?:not|no longer) allergic to {_LIST} any ?more", 0.95, retracts=True),
    _r("health.allergy", rf"{_I_AM} no longer allergic to {_LIST}", 0.95, retracts=True),
    _r("health.condition", rf"{_I_AM} (?:a |an |also )*(?P<v>diabetic|coeliac|celiac|asthmatic|epileptic|pregnant)\b", 0.95),
    _r("health.condition", r"\bi(?:'ve| have)(?: got)? (?P<v>(?:type (?:one|two|1|2) )?diabetes|coeliac disease|celiac disease|asthma|epilepsy|a heart condition|a pacemaker|high blood pressure)\b", 0.95),
    _r("diet.avoid", rf"\bi (?:(?:really |just |also |actually )?(?:don't|do not|never|can't|cannot|mustn't|must not) (?:eat|drink)|(?:can't|cannot|mustn't|must not) have) {_NO_FOOD}{_LIST}{_ALWAYS}"),
    _r("diet.avoid", rf"\bi (?:avoid|stay away from|keep off) (?:eating |drinking ){_NO_FOOD}{_LIST}{_ALWAYS}"),
    _r("diet.avoid", rf"\bi(?:'ve)? (?:can |started to |started )?(?:eat|eating|drink|drinking|have) {_LIST} again\b", retracts=True),
    _r("favourite.{what}", rf"\b(?:my|our) (?:all-time |absolute )?fav(?:ou|o)rite {_FAVOURITES}(?:'s| is| are| was always) {_THING}"),
    # How the caller likes to be served.
    _r("seating", r"\b(?:i|we)(?:'d| would)? (?:always |usually |really |still |normally |much )*(?:prefer|like to sit|rather sit|sit|want to sit|prefer to sit|like sitting|prefer sitting|like|take) (?:at |by |in |on |a |the |an |near |next to )*(?P<v>window|terrace|patio|garden|(?:corner )?booth|bar|counter|quiet|corner|outside|outdoors|inside|indoors|aisle)(?: table| seat| spot| corner)?s?\b(?! of| and grill)"),
    _r("seating", r"\b(?:always|usually) (?:give us|give me|put us|put me|seat us|seat me) (?:at |by |in |on |a |the |near |next to )*(?P<v>window|terrace|patio|garden|booth|bar|counter|quiet|corner|outside|inside)\b"),
    _r("seating", rf"{_FILLER}(?:at |by |in |on |a |the |near |i'd prefer |preferably |i prefer )*(?P<v>window|terrace|patio|garden|booth|bar|counter|outside|outdoors|inside|indoors|quiet corner|corner)(?: table| seat)?(?! \ufffc){_END}", 0.8, asked=True),
    _r("party.size", rf"\b(?:there are|there're|we're|we are|we) (?:usually|always|normally|generally|typically|come)(?: come| be)?(?: as| with)? (?:a party of )?(?P<v>{NUMBER})(?: of us| people)?(?=[.,!]|$| of us| people| so)"),
    _r("party.size", rf"\bour usual (?:table|party) (?:is )?(?:for|of) (?P<v>{NUMBER})\b"),
    _r("party.size", rf"\bi (?:usually|always|normally) (?:book|come|reserve)(?: a table)? (?:for|with) (?P<v>{NUMBER})\b"),
    _r("access.need", r"\b(?:i use|i need|i'm in|i am in|i'm using|we need|we'll need|i rely on) (?P<v>(?:a |an |my )?(?:wheelchair(?: access)?|walking frame|walker|hearing loop|guide dog|step-free access|wheelchair accessible table|high ?chair|ramp|large print))\b", 0.95),
    _r("access.need", rf"{_I_AM} (?:a bit |quite |very |partly |partially |almost )*(?P<v>hard of hearing|deaf|blind|visually impaired|partially sighted|a wheelchair user)\b", 0.95),
    _r("language", r"\bi (?:only |mostly |mainly |prefer to )?speak (?P<v>[a-z]+) (?:better|best|at home)\b"),
    _r("language", r"\bi(?:'d| would)? (?:prefer|rather) (?:to )?(?:speak |talk )?(?:in )?(?P<v>(?-i:[A-Z])[a-z]+)(?=[.,!]|$| please| if)"),
    _r("language", r"\b(?:my (?:first|native) language is|i only speak|i speak only) (?P<v>[a-z]+)\b"),
    # Who the caller is.
    _r("identity.birthday", rf"\bmy birthday(?:'s| is)(?: on)? {_DATE}"),
    _r("identity.birthday", rf"\bi was born on {_DATE}"),
    _r("identity.birthday", rf"\bmy date of birth is {_DATE}"),
    _r("identity.birthday", rf"{_FILLER}(?:on )?(?P<v>[\w ,-]{{3,40}}?){_END}", asked=True),
    _r("anniversary", rf"\b(?:my|our) (?:wedding )?anniversary(?:'s| is)(?: on)? {_DATE}"),
    _r("identity.age", rf"{_I_AM} (?P<v>{NUMBER})(?: years old| years of age)\b"),
    _r("identity.account", r"\bmy (?:customer|account|member|membership|client|loyalty|reference|contract) (?:number|id|code)(?:'s| is) (?P<v>[\w -]+?)(?=[.,!?]|$)"),
    _r("identity.account", rf"{_FILLER}(?P<v>[\w -]+?){_END}", asked=True),
    _r("identity.job", rf"\bi work as an? {_THING}"),
    _r("identity.company", rf"\bi work (?:for|at) {_PLACE}"),
    _r("home.place", rf"\b(?:i|we)(?:'ve| have)? (?:just |recently |now )*moved (?:from {_PLACE_NAME} )?to {_PLACE}", 0.95),
    _r("home.place", rf"\b(?:i|we) (?:now |still |actually |currently )?live in {_PLACE}"),
    _r("home.place", rf"\bi(?:'m| am) (?:living|based) in {_PLACE}"),
    _r("home.address", rf"\b(?:my (?:new |home )?address is|i live at|i(?:'ve)? moved to) {_STREET}"),
    _r("home.address", rf"{_FILLER}{_STREET}{_END}", asked=True),
    # What the caller promised and asked for.
    _r("commitment", rf"\bi(?:'ll| will) (?:definitely |certainly )?(?P<v>(?:call|ring|phone|text|e-?mail|write|send|bring|pay|pick|drop|come|confirm|let you know|return|transfer|email|decide|be there)\b[\w ,'-]*?{DAY}(?: at {TIME})?)(?! \ufffc)", 0.85),
    _r("booking.request", rf"\bi(?:'d| would)? (?:like|love|want|need|wanted)(?: to)?(?: book| reserve| make a reservation for| have| get)? (?P<v>(?:an? |the )?(?:table|room|appointment)\b[\w :'-]*?(?:{DAY}|{TIME})(?: (?:at )?{TIME})?)(?=[.,!?]|$| please| if| and)", 0.8),
    # Who belongs to the caller.
    _r("relation.{who}.allergy", rf"{_WHO}(?: {_CAPITAL})?(?:'s| is) (?:also |very |severely |really |quite )*allergic to {_LIST}", 0.9),
    _r("relation.{who}.allergy", rf"{_WHO}(?: {_CAPITAL})? has (?:a |an )?(?:severe |bad |serious )*(?P<v>(?!an?\b){_WORD}) allergy\b"),
    _r("relation.{who}.avoid", rf"{_WHO}(?: {_CAPITAL})? (?:doesn't|does not|can't|cannot|never|mustn't) (?:eats?|drinks?) {_NO_FOOD}{_LIST}{_ALWAYS}"),
    _r("relation.{who}.diet", rf"{_WHO}(?: {_CAPITAL})?(?:'s| is) (?:a |an |also |strictly )*(?P<v>vegetarian|vegan|pescatarian)\b"),
    _r("relation.{who}.name", rf"{_WHO}(?:'s name is| is called|'s called| is named) {_NAME}"),
    _r("relation.{who}.name", rf"{_WHO},? {_CAPITALS}(?=[,.]? (?:is|will|has|and|would|wants|comes|came|loves|likes)\b)", 0.8),
    _r("relation.{who}.birthday", rf"{_WHO}'s birthday is(?: on)? {_DATE}"),
    _r("relation.{who}.phone", rf"{_WHO}'s (?:phone |mobile )?number is {_PHONE}"),
    _r("relation.{who}.favourite.{what}", rf"{_WHO}'s fav(?:ou|o)rite {_FAVOURITES}(?:'s| is| are) {_THING}"),
    _r("likes", rf"{_DO}(?:love|adore|like|enjoy) (?:eating|drinking) {_LIST}", 0.8),
    _r("likes", rf"{_I_AM} (?:a )?(?:big |huge |great )?fan of {_LIST}", 0.8),
    _r("dislikes", rf"{_DO}(?:hate|dislike|detest|loathe|can't stand|don't like|do not like) (?:eating |drinking )?(?!waiting\b|talking\b|saying\b|people\b){_LIST}{_ALWAYS}", 0.85),
    _r("household.pet", r"\b(?:i|we)(?:'ve| have)(?: got| also got)? (?:a |an |two |three )(?:\w+ )?(?P<v>dogs?|cats?|puppy|parrot|rabbits?|horse)\b"),
    _r("household.children", rf"\b(?:i|we)(?:'ve| have)(?: got)? (?P<v>{NUMBER}) (?:small |young |little |grown-up )?(?:kids|children)\b"),
)  # fmt: skip

_SAYS = r"(?:says?|said|tells?|told|thinks?|thought|claims?|claimed|believes?|asked|asks|wrote|insists?|keeps? (?:saying|telling)|was (?:saying|like)|goes)"

#: What must not be read as the caller's own statement. Each match is blanked to its end.
BLANKED = tuple(
    re.compile(pattern, re.IGNORECASE)
    for pattern in (
        # Somebody's words.
        r"[\"“«][^\"”»]*(?:[\"”»]|$)",
        rf"\b(?:he|she|they|you|people|everyone|everybody|somebody|someone|the \w+|my [\w-]+(?: [A-Z]\w+)?|your \w+|(?-i:[A-Z])[a-z]+)(?: \w+ly| always| just| once| still)? {_SAYS}\b(?! (?:me|my name)\b,? (?:i should)).*",
        r"\baccording to .*",
        r"\b(?:song|book|film|movie|poem|line|lyrics|sign|advert|joke|story|letter|email|message|text)\b[\w ]* (?:goes|says|said|called|titled|that says|reads)\b.*",
        # Conditions, wishes, things supposed.
        r"(?:^|(?<=[ ,.]))(?:what |even |as |only )?(?:if|unless|in case|whenever|whether)\b(?! you (?:need|want|have to|like|don't mind)\b)[^,.!?]*",
        r"\b(?:suppose|supposing|imagine|let's (?:say|pretend|assume|imagine)|let us say|assume|assuming|pretend|say for (?:example|instance)|for (?:example|instance)|hypothetically|theoretically|in theory|had i|were i)\b.*",
        r"\bi (?:wish|hope|dreamt|dreamed|used to|might|may|could|would have|almost|nearly|used|was (?:told|thinking|joking|pretending))\b[^.!?]*",
        r"\b(?:maybe|perhaps|possibly)\b[^.!?]*",
        r"\bas (?:though|if)\b.*",
        # Denials.
        r"\b(?:i (?:don't|do not|didn't|did not|never|can't|cannot|wouldn't) (?:think|say|said|believe|claim|claimed|know|mean|remember saying|told|tell)|i doubt|i deny|i'm not (?:saying|sure|certain|claiming|telling)|i am not (?:saying|sure)|it's not (?:that|true|like|as)|it isn't (?:that|true)|it's (?:wrong|false|a lie|not the case) that|not that|nobody (?:says|said)|far from)\b[^.!?]*",
        r"\b(?:who|that) (?:is|are|was)\b[^,.!?]*",
    )
)

#: Words that make everything in the utterance void: a joke, or an attempt to instruct.
VOID = tuple(
    re.compile(pattern, re.IGNORECASE)
    for pattern in (
        r"\b(?:just |only )?(?:kidding|joking)\b|\bha ?ha\b|\bi'm pulling your leg\b|\bjust testing\b",
        r"\b(?:ignore|disregard|forget|override|bypass)\b[\w ,]* (?:rules?|instructions?|prompts?|guidelines|guardrails|training|restrictions)\b",
        r"\byou are (?:now|actually|no longer)\b|\bfrom now on,? you\b|\bact as (?:an?|the|my|if)\b|\bpretend (?:to be|you|that you)\b|\brole ?play\b",
        r"\b(?:system|developer) (?:prompt|message|mode|instruction)s?\b|\bjailbreak\b|\b(?:enable|enter) \w+ mode\b",
        r"\b(?:other|another|all|every|previous) (?:customer|caller|guest|client|user|person)(?:s|'s|s')?\b[\w ]*\b(?:notes?|data|numbers?|details|names?|addresses|memor(?:y|ies)|records?)\b",
        r"\b(?:everything|anything|all) (?:for|is) free\b|\b(?:repeat|say) after me\b|\bend of (?:prompt|instructions)\b|</?\w+>|\[/?\w+\]|\{\{|\b(?:assistant|system|user) ?:",
        r"\b(?:always|must|should|will) (?:answer|reply|respond|obey|say yes|give (?:me|him|her) (?:a )?(?:discount|free|refund))\b",
    )
)

_OPENING = r"^\W*(?:(?:and|so|but|well|okay|ok|hi|hello|hey|sorry|excuse me|um|uh|oh|please|now|then|yes|yeah|no|thanks|thank you|great|alright|by the way)\b,? )*"
_ASKS = (
    "do|does|did|am|is|are|was|were|can|could|would|will|should|shall|may|might|have|has|had|what|what's|where|where's|"
    "when|when's|which|who|who's|whose|why|how|how's|isn't|aren't|don't|didn't|doesn't|won't|wouldn't|couldn't|can't|wasn't"
)

LANGUAGE = Language(
    rules=RULES,
    blanked=BLANKED,
    void=VOID,
    question=re.compile(rf"{_OPENING}(?:{_ASKS}) (?!(?:not )?(?:ever )?(?:call|ring|phone|text|e-?mail|contact|write|send|leave|give|tell|mention|use|put)\b)", re.IGNORECASE),
    hedge=re.compile(r"\b(?:i (?:think|guess|suppose|believe)|probably|i'd say|more or less|not sure but)\b", re.IGNORECASE),
    remember=re.compile(
        r"(?:^\W*|[,.!] |\b(?:and|so|but|please|just|also) )(?:(?:can|could|will|would) you (?:please |also )?)?(?:please )?"
        r"(?:(?:remember(?: for next time)?|don't forget|do not forget|keep in mind|bear in mind|make a note|take a note|note(?: down)?|write down|you should know)"
        r"(?: that|:|(?= (?:i'm|i|we're|we|there's) \w| (?:my|our) (?:[\w'-]+ ){1,3}?(?:is|are|has|have|needs?|likes?|wants?|can't|doesn't|don't)\b))"
        r"|for next time[,:]?)\s+(?P<v>(?!you\b|your\b).+)",
        re.IGNORECASE,
    ),
    inverted=re.compile(
        rf"(?:^|(?<=[ ,]))(?:what|what's|where|where's|when|which|who|who's|whose|why|how|how's)\b|(?:^|(?<=[ ,]))(?:{_ASKS}) (?:i|you|we|he|she|it|they|there|my|your|our|the|that|this|these|anyone|a|an)\b"
        r"|, (?:okay|ok|right|yeah|yes|you know|got it|all ?right|see|correct|you hear)\W*$",
        re.IGNORECASE,
    ),
    resumes=re.compile(r",? (?:and |but |because |since )?(?=(?:i'm|i am|my (?:\w+ )?(?:name|number)|this is)\b)", re.IGNORECASE),
    asked={
        slot: re.compile(pattern, re.IGNORECASE)
        for slot, pattern in {
            "identity.name": r"\b(?:what|which|your|whose|the) (?:\w+ )?name\b|\bwho (?:is|am i)\b|\bwho's (?:calling|speaking|that)\b",
            "contact.phone": r"\b(?:your|what|which|a|best) (?:\w+ )?(?:phone |telephone |contact |mobile )?number\b(?! of (?:people|guests))",
            "contact.email": r"\be-?mail address\b|\byour e-?mail\b",
            "contact.time": r"\b(?:when|what time)\b.*\b(?:call|reach|ring|contact) you\b|\bbest time to (?:call|reach)\b",
            "contact.channel": r"\b(?:how|by (?:phone|text|e-?mail))\b.*\b(?:reach|contact|confirm|notify)\b|\bby (?:phone|text|e-?mail) or\b",
            "health.allergy": r"\ballerg\w+|\bintoleran\w+",
            "seating": r"\b(?:where|would you (?:like|prefer))\b.*\b(?:sit|inside|outside|window|terrace|table)\b",
            "identity.birthday": r"\bdate of birth\b|\bbirthday\b|\bborn\b",
            "identity.account": r"\b(?:customer|account|member|membership|reference) number\b",
            "home.address": r"\byour (?:home |street |postal |full |new |current )?address\b|\bwhere do you live\b",
        }.items()
    },
    canonical={
        "mum": "mother", "mom": "mother", "dad": "father", "grandma": "grandmother", "grandad": "grandfather",
        "neighbor": "neighbour", "fiancee": "fiance", "color": "colour", "flowers": "flower", "movie": "film",
    },
    echoed={
        "identity.name": re.compile(r"\b(?i:thank you|thanks|hello|hi|welcome|welcome back|great|perfect|of course|sorry|certainly|all right|goodbye|under(?: the)?|name(?: of| is)?|so|you're|you are|that's|that is)[, ]+(?i:name (?:of )?)?(?:(?:Mr|Mrs|Ms|Dr)\.? )?[A-Z][a-z]+"),
        "contact.phone": re.compile(r"\d{3}|\b(?:number|five|seven|nine|zero)\b", re.IGNORECASE),
    },
    forgets=(
        Forgetting(Scope.NOTHING, re.compile(r"\b(?:don't|do not|never|won't|didn't|i|i'll|i always|did you|do you|don't you|why you|you always|you'll) (?:ever )?forget\b|\bforgot(?:ten)?\b|\bforget (?:it|about it|to)\b(?! all| everything)[^,.]*|\b(?:delete|cancel|remove) (?:it|my (?:booking|reservation|table|order|appointment))\b", re.IGNORECASE)),
        Forgetting(Scope.TOPIC, re.compile(r"\bforget that (?P<v>(?:i'm|i am|i|my|we|we're|our)\b[\w' ,-]+?)(?=[.!?]|$)", re.IGNORECASE)),
        Forgetting(Scope.TOPIC, re.compile(r"\b(?:forget|delete|erase|remove) (?:what (?:i|you)(?:'ve)? (?:told you|said|mentioned|know|have|saved|stored)|everything(?: (?:i(?:'ve)? (?:told you|said)|you (?:know|have)))?|anything) about (?P<v>(?!me\b)[\w' -]+?)(?=[.,!?]|$| please)", re.IGNORECASE)),
        Forgetting(
            Scope.ALL,
            re.compile(
                r"\b(?:forget|delete|erase|remove|wipe)(?: about)? (?:me(?: completely| entirely)?(?=[.,!?]|$| please)"
                r"|(?:everything|all)(?: that)?(?: you (?:know|have|saved|stored)| i(?:'ve)? (?:ever )?(?:told you|said)| about me)(?: about me| so far| today)?+(?! \w)"
                r"|everything(?=[.,!?]|$| please)|(?:all (?:of )?)?my (?:data|information|profile|memory|history|details)(?: you have)?+(?! \w)"
                r"|all the (?:data|information|details) you have(?: about me)?+(?! \w))"
                r"|\b(?:i want|i'd like|i would like|i need) (?:all )?my (?:data|information|profile|details) (?:to be )?(?:deleted|erased|removed|forgotten)\b",
                re.IGNORECASE,
            ),
        ),
        Forgetting(Scope.LAST, re.compile(r"\b(?:forget|delete|erase|scratch|strike) (?:that|what i(?:'ve)? just (?:said|told you)|the last (?:thing|part|bit))(?=[.,!?]|$| please)", re.IGNORECASE)),
        Forgetting(Scope.SLOT, re.compile(r"\b(?:forget|forgetting|delete|deleting|erase|erasing|remove|removing|lose|don't (?:keep|store|save)|do not (?:keep|store|save)) (?:about )?my (?P<v>[a-z][a-z' -]*?)(?: (?:from|that|which|again|please|now|and)\b|(?=[.,!?]|$))", re.IGNORECASE)),
    ),
    called={
        "identity.name": "name|full name|first name|last name|surname",
        "identity.birthday": "birthday|date of birth|age",
        "identity.account": "customer number|account number|membership number|member number",
        "contact.phone": "number|phone number|telephone number|phone|mobile|mobile number|cell number|telephone|contact details",
        "contact.email": "email|e-mail|mail|email address|e-mail address|contact details",
        "contact.time": "hours|times|contact times",
        "home.address": "address|home address|street",
        "home.place": "address|home address|city|town",
        "health.allergy": "allergy|allergies|intolerance|intolerances|health|medical details",
        "health.condition": "condition|health|illness|medical details|diabetes|pregnancy",
        "access.need": "disability|wheelchair|health",
        "diet.preference": "diet|food preferences|preferences",
        "diet.avoid": "diet|food preferences|preferences",
        "seating": "seat|table preference|seating preference|preferences",
        "identity.job": "job|work",
        "identity.company": "company|employer|work",
    },
)  # fmt: skip
