"""DingTalk (钉钉): people, approvals, messages."""
