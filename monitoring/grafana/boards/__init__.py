"""The Grafana dashboards of llm-server, as code. `python -m boards` writes them as JSON into `../dashboards`."""
