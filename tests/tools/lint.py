"""Asks REDbot about URLs, and prints what it notes as JSON.

Standard input: a list of {"name", "url", "method", "headers": [[name, value], ...]}.
Standard output: a list of {"probe", "level", "note", "subject", "summary"}. A request that came to
nothing is a note named FetchError.
"""

import json
import sys
from configparser import ConfigParser

import thor
from redbot.resource import HttpResource


def main():
    probes, found = json.load(sys.stdin), []
    settings = ConfigParser()
    settings.read_dict({"redbot": {"enable_local_access": "True"}})

    def next_probe():
        if not probes:
            thor.stop()
            return
        probe = probes.pop(0)
        resource = HttpResource(settings["redbot"])
        headers = [tuple(header) for header in probe["headers"]]
        resource.set_request(probe["url"], probe["method"], headers)
        # Some answers are right for some requests only, which REDbot does not look at by itself.
        resource.response.request = resource.request

        @thor.events.on(resource)
        def check_done():
            found.extend(notes(probe["name"], resource))
            thor.schedule(0, next_probe)

        resource.check()

    thor.schedule(0, next_probe)
    thor.run()
    json.dump(found, sys.stdout)


def notes(probe, resource):
    """What was noted of the response, and by comparing it with those to requests of REDbot's own."""
    error = resource.fetch_error
    if error:
        yield told(probe, "bad", "FetchError", "", f"{error.desc}: {error.detail}")
    for response in [resource.response, *resource.nonfinal_responses]:
        for note in response.notes:
            for each in [note, *note.subnotes]:
                name = type(each).__name__
                yield told(probe, each.level.value, name, each.subject, str(each.summary))


def told(probe, level, note, subject, summary):
    return {"probe": probe, "level": level, "note": note, "subject": subject, "summary": summary}


main()
