"""The memory as an MCP server at ``/mcp``: who may ask (``tokens``, ``gate``), what (``server``), and how it is served (``asgi``)."""
