"""WeCom (企业微信): people, approvals, messages, external contacts."""
