"""Credentials for the local Motion Server; they open nothing else."""

APP_ID = "0123456789abcdef0123456789abcdef"
CERTIFICATE = "fedcba9876543210fedcba9876543210"
"""Agora's App ID and App Certificate."""

CREDENTIALS = {
    "SPATIUS_API_KEY": "demo-key",
    "SPATIUS_APP_ID": "demo-app",
    "SPATIUS_AVATAR_ID": "demo-avatar",
    "AGORA_APP_ID": APP_ID,
    "AGORA_APP_CERTIFICATE": CERTIFICATE,
    "AGORA_TOKEN": "",  # the certificate signs one
    "AGORA_CHANNEL": "demo",
    "AGORA_AVATAR_UID": "1001",
}
"""Environment variables of property.json."""
