"""The inference family: com.unity.sentis 2.1 and com.unity.ai.inference 2.2 to 2.6, one engine under two names."""
