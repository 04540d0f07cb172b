"""The asyncio shells around the sans-IO protocol rooms: association server and client."""
