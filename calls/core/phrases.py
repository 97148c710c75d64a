"""The phrases that need no vendor: said from recordings when something failed. Texts by language and key.

The recordings lie in ``calls/phrases/<language>/<key>.ulaw``, those of an agent's own with the agent; the text is what the
history and the transcript get.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from calls.core.policy import AgentProfile

#: Every language has every key.
PHRASES: dict[str, dict[str, str]] = {
    "en": {
        "model_failed": "I'm sorry, I lost my train of thought. Could you say that again, please?",
        "voice_failed": "I'm sorry, I'm having trouble speaking right now. One moment, please.",
        "ear_failed": "I'm sorry, I can't hear you at the moment. Please call again in a few minutes. Goodbye.",
        "trouble": "I'm sorry, we are having technical trouble. Please call again in a few minutes. Goodbye.",
        "ear_moment": "I'm sorry, I didn't hear that. One moment, please.",
        "handover": "I'm sorry, we are having technical trouble. I'll put you through to a colleague.",
        "closing": "I'm sorry, I have to end this call now. Please call again in a few minutes. Goodbye.",
        "time_limit": "I'm sorry, we have reached the time limit for this call. Thank you for calling. Goodbye.",
        "busy": "I'm sorry, all our lines are busy at the moment. Please call again in a few minutes. Goodbye.",
    },
    "de": {
        "model_failed": "Es tut mir leid, ich habe gerade den Faden verloren. Können Sie das bitte noch einmal sagen?",
        "voice_failed": "Es tut mir leid, ich habe gerade Schwierigkeiten zu sprechen. Einen Moment, bitte.",
        "ear_failed": "Es tut mir leid, ich kann Sie im Moment nicht hören. Bitte rufen Sie in ein paar Minuten noch einmal an. "
        "Auf Wiederhören.",
        "trouble": "Es tut mir leid, wir haben gerade eine technische Störung. Bitte rufen Sie in ein paar Minuten noch einmal an. "
        "Auf Wiederhören.",
        "ear_moment": "Es tut mir leid, das habe ich nicht gehört. Einen Moment, bitte.",
        "handover": "Es tut mir leid, wir haben gerade eine technische Störung. Ich verbinde Sie mit einem Kollegen.",
        "closing": "Es tut mir leid, ich muss das Gespräch jetzt beenden. Bitte rufen Sie in ein paar Minuten noch einmal an. "
        "Auf Wiederhören.",
        "time_limit": "Es tut mir leid, die Zeit für dieses Gespräch ist leider um. Vielen Dank für Ihren Anruf. Auf Wiederhören.",
        "busy": "Es tut mir leid, im Moment sind alle Leitungen belegt. Bitte rufen Sie in ein paar Minuten noch einmal an. "
        "Auf Wiederhören.",
    },
    "es": {
        "model_failed": "Perdone, he perdido el hilo. ¿Me lo puede repetir, por favor?",
        "voice_failed": "Perdone, ahora mismo tengo problemas para hablar. Un momento, por favor.",
        "ear_failed": "Lo siento, en este momento no le oigo. Por favor, vuelva a llamar dentro de unos minutos. Adiós.",
        "trouble": "Lo siento, tenemos un problema técnico. Por favor, vuelva a llamar dentro de unos minutos. Adiós.",
        "ear_moment": "Perdone, no le he oído. Un momento, por favor.",
        "handover": "Lo siento, tenemos un problema técnico. Le paso con un compañero.",
        "closing": "Lo siento, tengo que terminar la llamada ahora. Por favor, vuelva a llamar dentro de unos minutos. Adiós.",
        "time_limit": "Lo siento, hemos llegado al límite de tiempo de esta llamada. Gracias por llamar. Adiós.",
        "busy": "Lo siento, en este momento todas las líneas están ocupadas. Por favor, vuelva a llamar dentro de unos minutos. Adiós.",
    },
    "fr": {
        "model_failed": "Excusez-moi, j'ai perdu le fil. Pouvez-vous répéter, s'il vous plaît ?",
        "voice_failed": "Excusez-moi, j'ai un petit problème de voix. Un instant, s'il vous plaît.",
        "ear_failed": "Je suis désolé, je ne vous entends pas pour le moment. Merci de rappeler dans quelques minutes. Au revoir.",
        "trouble": "Je suis désolé, nous avons un problème technique. Merci de rappeler dans quelques minutes. Au revoir.",
        "ear_moment": "Excusez-moi, je n'ai pas entendu. Un instant, s'il vous plaît.",
        "handover": "Je suis désolé, nous avons un problème technique. Je vous passe un collègue.",
        "closing": "Je suis désolé, je dois terminer cet appel maintenant. Merci de rappeler dans quelques minutes. Au revoir.",
        "time_limit": "Je suis désolé, nous avons atteint la durée maximale de cet appel. Merci de votre appel. Au revoir.",
        "busy": "Je suis désolé, toutes nos lignes sont occupées pour le moment. Merci de rappeler dans quelques minutes. Au revoir.",
    },
}

#: What bridges a slow function, in the agent's own voice. Version 1.
FILLERS: dict[str, str] = {
    "en": "One moment, please. ",
    "de": "Einen Moment, bitte. ",
    "es": "Un momento, por favor. ",
    "fr": "Un instant, s'il vous plaît. ",
}

#: What the agent's own voice says when an operator who had taken over is cut off for good. Version 1.
RETURNS: dict[str, str] = {
    "en": "I'm sorry, my colleague was cut off. I'm with you again: how can I go on helping you?",
    "de": "Es tut mir leid, die Verbindung zu meinem Kollegen ist abgebrochen. Ich bin wieder für Sie da: Wie kann ich weiterhelfen?",
    "es": "Perdone, se ha cortado la conexión con mi compañero. Vuelvo a estar con usted: ¿cómo puedo seguir ayudándole?",
    "fr": "Excusez-moi, mon collègue a été coupé. Je suis de nouveau avec vous : comment puis-je continuer à vous aider ?",
}

#: What stands for a caller's name in a greeting.
NAME_PLACE = "{name}"


def filler_text(language: str) -> str:
    """The words for a moment's patience; English where the language has none."""
    return FILLERS.get(language.split("-")[0], FILLERS["en"])


def return_text(language: str) -> str:
    """The words with which the agent is back; English where the language has none."""
    return RETURNS.get(language.split("-")[0], RETURNS["en"])


def phrase_language(language: str) -> str:
    """The language whose recordings serve ``language``."""
    base = language.split("-")[0]
    return base if base in PHRASES else "en"


def shipped_text(language: str, key: str) -> str:
    """What the shipped recording says."""
    return PHRASES[phrase_language(language)][key]


def phrase_text(agent: AgentProfile, key: str) -> str:
    """What the phrase says: the agent's own, where it has a recording of its own, else the shipped one."""
    return dict(agent.phrases).get(key) or shipped_text(agent.language, key)
