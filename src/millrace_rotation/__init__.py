"""The functions that rotate secrets: standard library only, and boto3, which Lambda's runtime brings along."""
