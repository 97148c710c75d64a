"""OpenAI's wire protocol: chat completions, responses, embeddings and models."""
