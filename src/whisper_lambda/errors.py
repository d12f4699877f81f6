"""Every failure a caller can see.

* WhisperLambdaError
  + ClientError          the request is at fault: 4xx, never retried
    - BadAudio             the bytes hold no audio we can decode
      . EmptyAudio         there are no bytes, or no samples in them
      . NoAudioStream      a picture, a silent video, a subtitle: no audio stream inside
    - AudioTooLong         more seconds of audio than the limit allows
    - AudioTooLarge        more bytes than the limit allows
    - AnswerTooLarge       the answer has more bytes than can be sent at once
    - DecodeTimeout        decoding took longer than its deadline
    - BadOption            an option's value is out of its range or contradicts another
    - UnknownFormat        no such output format
    - UnknownLanguage      no such language, or the model does not speak it
    - UnknownModel         no such tier or alias
    - MissingKey           no API key came with the request, and one is needed
    - InvalidKey           the key is unknown, revoked or expired
    - KeyNotAllowed        the key is good, but not for this
    - CrossSite            a page of another site sent it to a server that asks for no key
    - RateLimited          the key has used up what it may; a later request may pass
      . TooManyAtOnce      too many of the key's requests are under way
      . AudioQuotaUsed     the key's seconds of audio for today are used up
    - HeadersTooLarge      more headers than any client sends
    - BodyTooSlow          the request came too slowly to be waited for
    - ClientGone           nobody waits for the answer any more; only logs see this
    - UnknownField         a request names a field this route does not have
    - MissingField         a request lacks a field this route needs
    - BrokenRequest        the body is not what its content type says
    - UnsupportedMedia     a content type this route does not read
    - NotSeparable         speakers cannot be told apart: the recording has one channel
    - FetchRefused         the recording's address may not be or could not be fetched
    - BadResume            the resume token is not ours, has expired or is of another recording
    - NoSuchUpload         the tenant has no such upload, or it is not complete, or it is gone
    - TicketRefused        the upload's address is forged, altered, expired or another tenant's
    - UploadConflict       the upload is complete, is being sent already, or goes on at another byte
    - UploadMismatch       what came is not what was announced: its size, type or sha256
    - NoSuchRoute          there is nothing at this path
    - NoSuchJob            there is no such job, or it is another's
    - JobNotFinished       the job's result is not there yet
    - JobHasNoResult       the job failed or was cancelled before its end
    - KeyUsedTwice         an idempotency key came again with another request
    - TooManyJobs          as many jobs of the tenant wait or run as may
    - MethodNotAllowed     there is, but not for this method
    - NoSuchSession        a live session that ended, is another's, or never was
    - BoundTooTight        no tier is as cheap or as quick as the request wants it
    - RemoteRefused        another server refused a request of ours, for a reason of its own
    - LiveTokenRefused     a live session's token that was not made here, or for another session
      . LiveTokenExpired     the step came too long after the one before
      . LiveStepReplayed     the step was done already
  + ServerError          we are at fault: 5xx, safe to retry
    - EngineFailed         the model raised while decoding
    - DecoderFailed        the decoder could not be started (not: it died on this input)
    - ModelUnavailable     no source could give the weights of any tier that would do
    - ModelCorrupt         a weights file is not the one its checksum names
    - StorageFull          no room for weights, cache or results
    - PoisonChunk          a passage of a job could not be transcribed, however often it was tried
    - StorageFailed        a store or database does not answer, is locked or refuses us
    - ObjectMissing        a store does not have what we once put there
    - Overloaded           more is waiting than can be done soon
      . CannotFinishInTime the answer would come after the client has stopped waiting
      . ShuttingDown       the server is finishing what it has and takes nothing new
    - OutOfTime            the time to answer in was over first; holds what was heard by then
    - RemoteFailed         another server failed, or answered what cannot be understood
    - ServerUnreachable    a server we are to ask does not answer

`code` is part of the public API: stable, listed in docs/errors.md, what clients branch on.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, ClassVar


class WhisperLambdaError(Exception):
    """Base of everything this package raises on purpose. The message says what to do."""

    code: ClassVar[str] = "internal_error"
    status: ClassVar[int] = 500
    param: str | None = None  # the field of a request that is at fault, where one is
    retry_after_s: float | None = None  # when the same request may pass; the header Retry-After
    details: Mapping[str, Any] = MappingProxyType({})  # more of what a client may use, beside the message
    final: ClassVar[bool] = False  # SDKs shall not send it again by themselves: x-should-retry


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


class AnswerTooLarge(ClientError):
    """The answer has more bytes than can be sent at once: ask for a stream, another format or a job."""

    code = "answer_too_large"
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


class MissingKey(ClientError):
    """No API key came with the request, and this server asks for one."""

    code = "missing_api_key"
    status = 401


class InvalidKey(ClientError):
    """The API key is unknown, revoked or expired."""

    code = "invalid_api_key"
    status = 401


class KeyNotAllowed(ClientError):
    """The API key is good, but its scopes do not cover this route."""

    code = "insufficient_scope"
    status = 403


class CrossSite(ClientError):
    """A web page of another site sent the request to a server that asks for no key."""

    code = "cross_site_request"
    status = 403


class RateLimited(ClientError):
    """The key has sent as many requests in a minute as it may; Retry-After says when it may again."""

    code = "rate_limit_exceeded"
    status = 429

    def __init__(self, message: str, *, retry_after_s: float | None = None) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class TooManyAtOnce(RateLimited):
    """As many requests of the key are under way as it may have at once."""

    code = "too_many_concurrent_requests"


class AudioQuotaUsed(RateLimited):
    """The key's seconds of audio for today are used up; they begin anew at midnight UTC."""

    code = "audio_quota_exceeded"


class HeadersTooLarge(ClientError):
    """The request has more headers than any client sends."""

    code = "headers_too_large"
    status = 431


class BodyTooSlow(ClientError):
    """The request's bytes came too slowly to be waited for."""

    code = "request_timeout"
    status = 408


class ClientGone(ClientError):
    """The client left before the answer was ready; work for it was stopped. Only logs see this."""

    code = "client_gone"
    status = 499


class UnknownField(ClientError):
    """The request names a field this route does not have."""

    code = "unknown_field"


class MissingField(ClientError):
    """The request lacks a field this route needs."""

    code = "missing_field"


class BrokenRequest(ClientError):
    """The request's body is not what its content type says, e.g. multipart that ends early."""

    code = "broken_request"


class UnsupportedMedia(ClientError):
    """This route does not read a body of that content type."""

    code = "unsupported_media_type"
    status = 415


class NotSeparable(ClientError):
    """Speakers can be told apart by channel only, and the recording has one channel."""

    code = "not_separable"


class FetchRefused(ClientError):
    """The recording's address may not be fetched from here, or gave no recording."""

    code = "fetch_refused"


class BadResume(ClientError):
    """The resume token is not one of ours, has expired, or is of another recording or tenant."""

    code = "bad_resume_token"


class NoSuchUpload(ClientError):
    """There is no such upload of this tenant, it is not complete yet, or its time is over."""

    code = "upload_not_found"
    status = 404


class TicketRefused(ClientError):
    """The address to send the upload to was forged or altered, has expired, or is another tenant's."""

    code = "upload_ticket_refused"
    status = 403


class UploadConflict(ClientError):
    """The upload is complete, is being sent by another request, or goes on at another byte."""

    code = "upload_conflict"
    status = 409


class UploadMismatch(ClientError):
    """What was sent is not what was announced: its size, its type or its sha256."""

    code = "upload_mismatch"


class NoSuchRoute(ClientError):
    """There is nothing at this path."""

    code = "not_found"
    status = 404


class NoSuchJob(ClientError):
    """There is no such job here, or it is another tenant's."""

    code = "job_not_found"
    status = 404


class JobNotFinished(ClientError):
    """The job is still waiting or under way; `partial=true` gives what there is."""

    code = "job_not_finished"
    status = 409


class JobHasNoResult(ClientError):
    """The job failed or was cancelled; `partial=true` gives what was heard before."""

    code = "job_has_no_result"
    status = 409


class KeyUsedTwice(ClientError):
    """The idempotency key belongs to another request: the recording or its options differ."""

    code = "idempotency_key_reused"
    status = 409


class TooManyJobs(ClientError):
    """As many of the tenant's jobs wait or run as may; one must end before another is taken."""

    code = "too_many_jobs"
    status = 429


class MethodNotAllowed(ClientError):
    """There is something at this path, but not for this method."""

    code = "method_not_allowed"
    status = 405


class NoSuchSession(ClientError):
    """There is no such live session to go on with: it ended, is another's, or never was."""

    code = "no_such_session"
    status = 404


class BoundTooTight(ClientError):
    """No tier that may answer is as cheap or as quick as the request wants it."""

    code = "bound_too_tight"


class RemoteRefused(ClientError):
    """The server a client asked refused the request, with a code that is not one of ours."""

    code = "remote_refused"


class LiveTokenRefused(ClientError):
    """A live session's token was not made here, or for another session or tenant."""

    code = "live_token_invalid"


class LiveTokenExpired(LiveTokenRefused):
    """The step of a live session came too long after the one before; begin a new session."""

    code = "live_token_expired"
    status = 410


class LiveStepReplayed(LiveTokenRefused):
    """This step of a live session was done already; send the token of the latest answer."""

    code = "live_step_replayed"
    status = 409


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


class PoisonChunk(ServerError):
    """A passage of the job could not be transcribed in several tries; the rest of it was."""

    code = "poison_chunk"


class StorageFailed(ServerError):
    """A store or database does not answer, is locked, or refuses us; later it may work."""

    code = "storage_failed"
    status = 503


class ObjectMissing(ServerError):
    """A store does not have what was once put there: it was deleted, or its time was over."""

    code = "object_missing"


class Overloaded(ServerError):
    """More is waiting than can be done soon; Retry-After says when there is room again."""

    code = "overloaded"
    status = 503

    def __init__(self, message: str, *, retry_after_s: float | None = None) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class CannotFinishInTime(Overloaded):
    """The answer would be ready only after the client has stopped waiting; nothing was begun."""

    code = "cannot_finish_in_time"


class ShuttingDown(Overloaded):
    """The server is finishing what it has begun and takes nothing new."""

    code = "shutting_down"


class OutOfTime(ServerError):
    """The time to answer in was over first: `partial` holds what was heard, `resume` goes on from there."""

    code = "out_of_time"
    status = 504
    final = True


class RemoteFailed(ServerError):
    """The server a client asked failed, or answered what cannot be understood."""

    code = "remote_failed"
    status = 502


class ServerUnreachable(ServerError):
    """The server a client asked does not answer: wrong address, not started, or no way there."""

    code = "server_unreachable"
    status = 502
