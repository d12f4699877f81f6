"""Every failure a caller can see.

* WhisperLambdaError
  + ClientError          the request is at fault: 4xx, never retried
    - BadAudio             the bytes hold no audio we can decode
      . EmptyAudio         there are no bytes, or no samples in them
      . NoAudioStream      a picture, a silent video, a subtitle: no audio stream inside
    - AudioTooLong         more seconds of audio than the limit allows
    - AudioTooLarge        more bytes than the limit allows
    - DecodeTimeout        decoding took longer than its deadline
    - BadOption            an option's value is out of its range or contradicts another
    - UnknownFormat        no such output format
    - UnknownLanguage      no such language, or the model does not speak it
    - UnknownModel         no such tier or alias
  + ServerError          we are at fault: 5xx, safe to retry
    - EngineFailed         the model raised while decoding
    - DecoderFailed        the decoder could not be started (not: it died on this input)
    - ModelUnavailable     no source could give the weights of any tier that would do
    - ModelCorrupt         a weights file is not the one its checksum names
    - StorageFull          no room for weights, cache or results

`code` is part of the public API: stable, listed in docs/errors.md, what clients branch on.
"""

from __future__ import annotations

from typing import ClassVar


class WhisperLambdaError(Exception):
    """Base of everything this package raises on purpose. The message says what to do."""

    code: ClassVar[str] = "internal_error"
    status: ClassVar[int] = 500


class ClientError(WhisperLambdaError):
    """The request is at fault; sending it again unchanged gives the same answer."""

    code = "bad_request"
    status = 400


class BadAudio(ClientError):
    """The bytes could not be decoded as audio."""

    code = "bad_audio"


class EmptyAudio(BadAudio):
    """The file is empty or holds not a single sample."""

    code = "empty_audio"


class NoAudioStream(BadAudio):
    """The file is media, but carries no audio stream (a picture, a silent video)."""

    code = "no_audio_stream"


class AudioTooLong(ClientError):
    """More seconds of audio than one request may carry."""

    code = "audio_too_long"
    status = 413


class AudioTooLarge(ClientError):
    """More bytes than one request may carry."""

    code = "audio_too_large"
    status = 413


class DecodeTimeout(ClientError):
    """Decoding the file took longer than its deadline allows."""

    code = "decode_timeout"


class BadOption(ClientError):
    """An option's value is out of its range, or contradicts another option."""

    code = "bad_option"


class UnknownFormat(ClientError):
    """There is no such output format."""

    code = "unknown_format"


class UnknownLanguage(ClientError):
    """There is no such language, or the model does not speak it."""

    code = "unknown_language"


class UnknownModel(ClientError):
    """There is no such tier or alias."""

    code = "unknown_model"
    status = 404


class ServerError(WhisperLambdaError):
    """We are at fault; the same request may work later."""

    code = "server_error"


class EngineFailed(ServerError):
    """The model raised while decoding."""

    code = "engine_failed"


class DecoderFailed(ServerError):
    """The audio decoder could not be started on this machine."""

    code = "decoder_failed"


class ModelUnavailable(ServerError):
    """No source could give the weights of any tier that would do."""

    code = "model_unavailable"
    status = 503


class ModelCorrupt(ServerError):
    """A weights file is not the one its checksum names; it was not loaded."""

    code = "model_corrupt"


class StorageFull(ServerError):
    """There is no room left for weights, cache or results."""

    code = "storage_full"
    status = 507
