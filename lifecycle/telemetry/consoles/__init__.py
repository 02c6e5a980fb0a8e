"""Consoles as the gateway serves them: from a browser's websocket to a guest's serial port or screen."""
