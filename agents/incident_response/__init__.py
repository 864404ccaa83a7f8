"""Incident response: opens one incident a root, picks a remedy, sees it through, closes or escalates."""

from agents.incident_response.responder import IncidentResponse, IncidentResponseOptions

__all__ = ["IncidentResponse", "IncidentResponseOptions"]
