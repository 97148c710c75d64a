from voiceagent.sandbox.openai.conversation import Answer, Conversation


def respond(conversation: Conversation) -> Answer:
    return Answer("I see. " + conversation.last_user_text[:40] + "? Tell me more.")
