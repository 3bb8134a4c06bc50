from tests.store.conftest import clock, postgres_url, store, store_url

__all__ = ["clock", "postgres_url", "store", "store_url"]
