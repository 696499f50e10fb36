"""The attacks of the threat model, played on a real cluster: `make attack`.

In reading order: `attack` (what an attack is, and how a run is judged), `world` (the victim and
the attacker), then the attacks by what they aim at: `stored_state`, `objects`, `job_ports`,
`operator_keys`, `manifests`, `chart_keys`. An attack is a function that tries something and
returns what refused it; it raises `Succeeded` when the attack works. docs/threat-model.md says
which promise each one tests.
"""
