"""Purges an id as a program would that knows no more than the address of the control plane.

Arguments: the address (host:port), the id. The API key is in WCDN_API_KEY. What services there are,
and what their messages look like, is asked of the server itself: there is no generated code.
Standard output: {"services": [...], "change": {...}, "receipts": [...]}, the messages as JSON.
"""

import json
import os
import sys

import grpc
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.json_format import MessageToDict
from google.protobuf.message_factory import GetMessageClass
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import (
    ProtoReflectionDescriptorDatabase,
)

SECONDS = 30


def main(address, content):
    with grpc.insecure_channel(address) as channel:
        reflected = ProtoReflectionDescriptorDatabase(channel)
        admin = Service(channel, DescriptorPool(reflected), "wcdn.admin.v1.AdminService")
        purged = admin.call("Purge", ids=[content])
        receipts = admin.call("WatchReceipt", change_id=purged.change.id)
        found = {
            "services": sorted(reflected.get_services()),
            "change": MessageToDict(purged.change),
            "receipts": [MessageToDict(answer.receipt) for answer in receipts],
        }
    json.dump(found, sys.stdout)


class Service:
    """A service, as the server describes it."""

    def __init__(self, channel, pool, name):
        self.channel = channel
        self.service = pool.FindServiceByName(name)
        self.metadata = [("x-api-key", os.environ["WCDN_API_KEY"])]

    def call(self, name, **fields):
        """The answer, or an iterator of answers, to a message with these fields."""
        method = self.service.FindMethodByName(name)
        kind = self.channel.unary_stream if method.server_streaming else self.channel.unary_unary
        rpc = kind(
            f"/{self.service.full_name}/{name}",
            request_serializer=GetMessageClass(method.input_type).SerializeToString,
            response_deserializer=GetMessageClass(method.output_type).FromString,
        )
        message = GetMessageClass(method.input_type)(**fields)
        return rpc(message, timeout=SECONDS, metadata=self.metadata)


main(*sys.argv[1:])
