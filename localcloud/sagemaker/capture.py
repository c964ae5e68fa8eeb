"""Data capture: sampled requests and answers of a variant, as JSON lines in S3, in the layout that AWS writes."""

from __future__ import annotations

import base64
import json
import random
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from localcloud import emulation
from localcloud.sagemaker.catalog import split_s3_folder

FLUSH_LINES = 200
_JSON = ("application/json", "application/jsonlines")
_CSV = ("text/csv",)


@dataclass
class Capture:
    """What one endpoint captures. `config` is its DataCaptureConfig."""

    endpoint: str
    config: Mapping[str, Any]
    _lines: dict[str, list[str]] = field(default_factory=dict)
    _random: random.Random = field(default_factory=random.Random)

    @property
    def enabled(self) -> bool:
        return bool(self.config.get("EnableCapture", False))

    def described(self) -> dict[str, Any]:
        """DescribeEndpoint's summary."""
        return {
            "EnableCapture": self.enabled,
            "CaptureStatus": "Started" if self.enabled else "Stopped",
            "CurrentSamplingPercentage": self.config["InitialSamplingPercentage"],
            "DestinationS3Uri": self.config["DestinationS3Uri"],
            "KmsKeyId": self.config.get("KmsKeyId", ""),
        }

    def wants_next(self) -> bool:
        return self.enabled and self._random.random() * 100 < self.config["InitialSamplingPercentage"]

    def add(
        self,
        variant: str,
        request: tuple[str, bytes],
        answer: tuple[str, bytes],
        moment: float,
        inference_id: str | None,
        attributes: str | None,
    ) -> None:
        """`request` and `answer` are (content type, body)."""
        modes = {option["CaptureMode"] for option in self.config["CaptureOptions"]}
        data: dict[str, Any] = {}
        if modes & {"Input", "InputAndOutput"}:
            data["endpointInput"] = self._observed("INPUT", *request)
        if modes & {"Output", "InputAndOutput"}:
            data["endpointOutput"] = self._observed("OUTPUT", *answer)
        when = datetime.fromtimestamp(moment, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        metadata: dict[str, Any] = {"eventId": str(uuid.uuid4()), "inferenceTime": when}
        if inference_id:
            metadata["inferenceId"] = inference_id
        if attributes:
            metadata["customAttributes"] = [attributes]
        line = json.dumps({"captureData": data, "eventMetadata": metadata, "eventVersion": "0"})
        lines = self._lines.setdefault(variant, [])
        lines.append(line)
        if len(lines) >= FLUSH_LINES:
            self.flush(moment)

    def _observed(self, mode: str, content_type: str, body: bytes) -> dict[str, str]:
        kinds = self.config.get("CaptureContentTypeHeader", {})
        plain = content_type.partition(";")[0].strip().lower()
        encoding = "BASE64"
        if plain in kinds.get("JsonContentTypes", _JSON):
            encoding = "JSON"
        elif plain in kinds.get("CsvContentTypes", _CSV):
            encoding = "CSV"
        data = base64.b64encode(body).decode() if encoding == "BASE64" else body.decode(errors="replace")
        return {"observedContentType": content_type, "mode": mode, "data": data, "encoding": encoding}

    def flush(self, moment: float) -> None:
        """Writes what was captured: one object a variant. A bucket that is gone is noted in the log."""
        gathered, self._lines = self._lines, {}
        bucket, prefix = split_s3_folder(self.config["DestinationS3Uri"])
        for variant, lines in gathered.items():
            when = datetime.fromtimestamp(moment, UTC)
            name = f"{when:%Y/%m/%d/%H/%M-%S}-{when.microsecond // 1000:03d}-{uuid.uuid4()}.jsonl"
            key = f"{prefix}{self.endpoint}/{variant}/{name}"
            emulation.write_object(bucket, key, ("\n".join(lines) + "\n").encode(), "application/x-ndjson")
