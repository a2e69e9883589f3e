"""Detectors of what opens doors: keys, tokens, private keys."""

from __future__ import annotations

import base64
import binascii
import json

from .found import Detector, whole

_EDGE = r"(?<![A-Za-z0-9_])"
# As the issuers document them; each has a prefix of its own, so that nothing else looks like it.
_KEYS = (
    r"(?:AKIA|ASIA)[A-Z2-7]{16}(?![A-Za-z0-9])",  # AWS access key id
    r"AIza[A-Za-z0-9_-]{35}(?![A-Za-z0-9_-])",  # Google API key
    r"GOCSPX-[A-Za-z0-9_-]{28}",  # Google OAuth client secret
    r"ya29\.[A-Za-z0-9_-]{20,512}",  # Google access token
    r"gh[pousr]_[A-Za-z0-9]{36,255}",  # GitHub
    r"github_pat_[A-Za-z0-9_]{22,255}",
    r"glpat-[A-Za-z0-9_-]{20,255}",  # GitLab
    r"xox[abeoprs]-[A-Za-z0-9-]{10,255}",  # Slack
    r"[sr]k_(?:live|test)_[A-Za-z0-9]{16,255}",  # Stripe
    r"sk-[A-Za-z0-9_-]{20,255}",  # OpenAI, Anthropic
    r"SG\.[A-Za-z0-9_-]{22}\.[A-Za-z0-9_-]{43}",  # SendGrid
    r"npm_[A-Za-z0-9]{36}(?![A-Za-z0-9])",
    r"pypi-AgEIcHlwaS5vcmc[A-Za-z0-9_-]{50,1024}",
    r"hf_[A-Za-z0-9]{34}(?![A-Za-z0-9])",  # Hugging Face
    r"dop_v1_[0-9a-f]{64}",  # DigitalOcean
    r"hvs\.[A-Za-z0-9_-]{24,512}",  # HashiCorp Vault
    r"(?:AccountKey|SharedAccessKey)=[A-Za-z0-9+/]{43}(?:[A-Za-z0-9+/]{43}=)?=",  # Azure: storage; service bus, IoT hub
    r"[A-Za-z0-9_~.-]{3}[78]Q~[A-Za-z0-9_~.-]{30,33}[A-Za-z0-9_~-](?![A-Za-z0-9_~-])",  # Azure application (Entra) client secret
    r"1//0[A-Za-z0-9_-]{40,512}",  # Google refresh token
    r"https://hooks\.slack\.com/(?:services|workflows)/[A-Za-z0-9+/]{40,64}",  # Slack webhook
    r"xapp-\d-[A-Za-z0-9-]{20,255}",  # Slack app
    r"whsec_[A-Za-z0-9+/]{24,255}={0,2}",  # Stripe webhook
    r"shp(?:at|ca|pa|ss)_[0-9a-fA-F]{32}(?![0-9A-Za-z])",  # Shopify
    r"sq0(?:atp|csp)-[A-Za-z0-9_-]{22,43}",  # Square
    r"SK[0-9a-f]{32}(?![0-9A-Za-z])",  # Twilio
    r"(?:dapi|lin_api_)[0-9A-Za-z]{32,64}(?![0-9A-Za-z])",  # Databricks, Linear
    r"AGE-SECRET-KEY-1[0-9A-Z]{58}",  # age
)
_NAMED = r"(?i:aws_?secret_?(?:access_?)?key|secretaccesskey)[\"']?\s{0,4}[:=]\s{0,4}[\"']?[A-Za-z0-9/+]{40}(?![A-Za-z0-9/+])"


def _is_token(text: str) -> bool:
    """The first part of a JWT is a JSON object that names an algorithm (RFC 7519, RFC 7515)."""
    head = text.split(".", 1)[0]
    try:
        return "alg" in json.loads(base64.urlsafe_b64decode(head + "=" * (-len(head) % 4)))
    except (ValueError, TypeError, binascii.Error):
        return False


_TOKEN = r"eyJ[A-Za-z0-9_-]{6,8192}\.eyJ[A-Za-z0-9_-]{2,65536}\.[A-Za-z0-9_-]{0,8192}"

KEY = Detector(
    "key",
    (
        r"(?:AKIA|ASIA)[A-Z2-7]{4}", "AIza[A-Za-z0-9_-]{4}", "GOCSPX-", r"ya29\.", "gh[pousr]_", "github_pat_", "glpat-",
        "xox[abeoprs]-", "[sr]k_(?:live|test)_", "sk-[A-Za-z0-9_-]{4}", r"SG\.[A-Za-z0-9_-]{4}", "npm_", "pypi-AgEI",
        "hf_[A-Za-z0-9]{4}", "dop_v1_", r"hvs\.", "AccountKey=", "SharedAccessKey=", "(?i)aws_?secret", "(?i)secretaccesskey",
        "[78]Q~[A-Za-z0-9_~.-]{4}", "1//0[A-Za-z0-9_-]{4}", r"hooks\.slack\.com/", "xapp-", "whsec_", "shp(?:at|ca|pa|ss)_",
        "sq0(?:atp|csp)-", "SK[0-9a-f]{8}", "dapi[0-9A-Za-z]{8}", "lin_api_", "AGE-SECRET-KEY-1",
    ),
    whole(f"{_EDGE}(?:{'|'.join(_KEYS)}|{_NAMED})"),
)  # fmt: skip
JWT = Detector("jwt", (r"eyJ[A-Za-z0-9_-]{4}",), whole(_EDGE + _TOKEN, check=_is_token))
PRIVATE_KEY = Detector(
    "private_key",
    ("PRIVATE KEY",),
    whole(
        r"-----BEGIN (?:[A-Z0-9]{1,16} ){0,3}PRIVATE KEY(?: BLOCK)?-----(?:(?!-----END)[\s\S]){0,65536}"
        r"(?:-----END (?:[A-Z0-9]{1,16} ){0,3}PRIVATE KEY(?: BLOCK)?-----)?"
    ),
)
