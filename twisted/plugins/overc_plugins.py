"""The two commands that twistd gains."""

from twisted.application.service import ServiceMaker

overc_server = ServiceMaker(
    "OverC server", "overc.server_tap", "The OverC monitoring server.", "overc-server"
)

overc_agent = ServiceMaker(
    "OverC agent", "overc.agent_tap", "The OverC agent: runs checks and reports.", "overc-agent"
)
