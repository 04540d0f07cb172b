"""Every maximum in one place, each with the reason for its number."""

from __future__ import annotations

from typing import Final

KIB: Final = 1024
MIB: Final = 1024 * KIB

# --- upper layer (PS3.8) ---
PDU_BYTES_MAX_RECEIVE: Final = 256 * KIB
"""Offered to peers. Past 128 KiB a CT slice needs few PDUs; larger ones only cost memory per association."""
PDU_BYTES_MAX_SEND: Final = 1 * MIB
"""Our ceiling for P-DATA we send, whatever the peer offers (0 means no limit)."""
ASSOCIATE_PDU_BYTES_MAX: Final = 1 * MIB
"""An A-ASSOCIATE-RQ with 128 contexts of 40 transfer syntaxes is about 130 KiB; anything near 1 MiB is hostile."""
PRESENTATION_CONTEXTS_MAX: Final = 128
"""PS3.8 9.3.2.2: odd identifiers from 1 to 255."""
ARTIM_TIMEOUT_S: Final = 30.0
"""PS3.8 9.1.5: how long a silent peer may hold a connection without an association."""
ASSOCIATION_IDLE_TIMEOUT_S: Final = 600.0
"""Modalities keep associations open between images for minutes; ten minutes of silence is a dead peer."""
SEND_TIMEOUT_S: Final = 60.0
"""How long a peer may leave our bytes unread before it counts as dead."""
ASSOCIATIONS_PER_WORKER_MAX: Final = 200
"""50 busy associations fit in 400 MB; 200 mostly idle ones do too."""
CONNECTIONS_PER_WORKER_MAX: Final = 2 * ASSOCIATIONS_PER_WORKER_MAX
"""Connections beyond the associations: room to tell callers by an A-ASSOCIATE-RJ that the limit is reached."""
CONNECT_TIMEOUT_S: Final = 10.0
"""How long a peer may take to open a connection, TLS included. Hospital networks answer in milliseconds."""
RECEIVE_BUFFER_BYTES: Final = 512 * KIB
"""One per worker, shared by its connections: two of our PDUs, so that a 512x512 CT takes few reads."""
WRITE_BUFFER_BYTES: Final = 512 * KIB
"""Unsent bytes of one association at which its senders must wait. One chunk of a stored object may stand above it."""

# --- DIMSE (PS3.7) ---
COMMAND_SET_BYTES_MAX: Final = 64 * KIB
"""Real command sets have less than 1 KiB; attribute lists of N-ACTION stay under a few KiB."""
IDENTIFIER_BYTES_MAX: Final = 4 * MIB
"""A C-FIND identifier with a UID list of 60,000; a commitment request for 40,000 instances."""
BROKEN_ASSOCIATIONS_MAX: Final = 3
"""Associations that a peer may break one after another before the rest is not sent. One odd object breaks one."""
OPERATIONS_OUTSTANDING_MAX: Final = 16
"""Requests a peer may have open at once on one association (asynchronous operations window)."""
RESPONSE_TIMEOUT_S: Final = 120.0
"""How long a peer may take for one response to us. Slow archives think a minute about a query."""
MOVE_RESPONSE_TIMEOUT_S: Final = 1800.0
"""The same for C-MOVE and C-GET: some archives fetch from tape and send no pending responses meanwhile."""
CANCEL_TIMEOUT_S: Final = 30.0
"""How long a peer may go on with an operation that we cancelled before we abort the association."""
RESPONSES_QUEUED_MAX: Final = 256
"""Responses to one request of ours that wait to be taken; at more, nothing is read from the peer."""

# --- objects ---
HEADER_BYTES_MAX: Final = 16 * MIB
"""How far the scan looks for attributes. Enhanced multi-frame headers reach a few MiB."""
SEQUENCE_DEPTH_MAX: Final = 32
"""Nesting that is followed; what is deeper is skipped over, kept in the object, and not indexed."""
TEXT_CHARS_MAX: Final = 1024
"""Longest attribute value kept in the index. LO has 64 characters, ST 1,024; longer values are cut there only."""
SEARCHED_TEXT_CHARS_MAX: Final = 256
"""The same for values that are entries of an index, which may have 2,704 bytes. LO has 64 characters, a name 194."""
INLINE_BINARY_BYTES_MAX: Final = 1024
"""Binary values up to here stand in JSON and XML as base64; longer ones (LUTs, overlays, waveforms) by reference."""
INFLATED_BYTES_MAX: Final = 64 * MIB
"""How far a deflated data set is inflated for its metadata; what would not fit is not described."""
STORE_TIMEOUT_S: Final = 360.0
"""Until a received object is safe or refused. A bucket may take 300 s, the commit 30 s; a disk that hangs has no limit."""
OBJECT_MEMORY_BYTES_MAX: Final = 1 * MIB
"""Objects up to here are written in one go; larger ones stream to disk while they arrive."""
STREAM_CHUNK_BYTES: Final = 1 * MIB
"""Piece size when a stored object is streamed out."""

# --- queries ---
QUERY_ROWS_MAX: Final = 100_000
"""A C-FIND answers at most so many matches, then ends with a warning; no question may take the server down."""
QIDO_LIMIT_DEFAULT: Final = 1000
"""Answers to a QIDO-RS request that names no limit; a Warning header says that there are more."""
QIDO_LIMIT_MAX: Final = 10_000
"""About 10 MB of JSON. Whoever wants more pages through it."""
QUERY_OFFSET_MAX: Final = 1_000_000_000
"""Above any archive; keeps the number within the database's integers."""
QUERY_PARAMETERS_MAX: Final = 500
"""Name-value pairs of one URL. OHIF sends about 10; a question with every indexed attribute has about 100."""
QUERY_VALUE_CHARS_MAX: Final = 64 * KIB
"""One value of a URL: a list of 1,000 UIDs, which is also about what web servers let through."""
INCLUDE_FIELDS_MAX: Final = 1000
"""Attributes that a question names to be returned; the standard's dictionary has 5,000, no index has a tenth of it."""
QUERY_ROWS_PER_FETCH: Final = 200
"""Rows that are taken from the database cursor at a time; a cancel is seen between two takes."""
QUERY_TIMEOUT_S: Final = 60.0
"""Nobody waits longer for a search; every search with a key that has an index ends in milliseconds."""

# --- HTTP ---
HTTP_CONNECTIONS_MAX: Final = 800
"""Of one web worker: a hundred browsers with six each, and below the 1,024 open files that systems allow by default."""
HTTP_HEAD_BYTES_MAX: Final = 256 * KIB
"""Request line and headers: the longest URL and Accept header that are taken have 80 KiB together."""
HTTP_HEAD_TIMEOUT_S: Final = 30.0
"""How long a client may take to say what it wants; as long as a DICOM peer may (ARTIM)."""
HTTP_BODY_TIMEOUT_S: Final = 60.0
"""How long an upload may stand still. A laptop that falls asleep in its midst must send it again."""
HTTP_CHECK_INTERVAL_S: Final = 5.0
"""How often a connection is looked at for standing still; one timer each, nothing per request."""
JSON_BODY_BYTES_MAX: Final = 64 * MIB
"""Metadata of 10,000 instances in one upload; it is held in memory."""
WORKITEM_BODY_BYTES_MAX: Final = 4 * MIB
"""A workitem sent over UPS-RS: its input and output name the series of a few large studies; it is held in memory."""
NOTIFICATION_CHANNELS_MAX: Final = 200
"""WebSockets for events of workitems that one web worker holds open."""
NOTIFICATION_CHANNELS_PER_CALLER_MAX: Final = 20
"""Of one account or token; each AE title needs one."""
NOTIFICATION_MESSAGE_BYTES_MAX: Final = 4 * KIB
"""What a subscriber may send over its WebSocket; nothing is expected of it."""
NOTIFICATION_PING_S: Final = 30.0
"""How often it is asked whether the subscriber is still there, and how long it may take to answer."""
STOW_OBJECTS_MAX: Final = 10_000
"""Objects of one upload; the largest CT studies have half as many. The answer names each of them."""
STOW_INLINE_BULK_BYTES_MAX: Final = 64 * MIB
"""Bulk data of one uploaded object other than its pixels or document: waveforms and tables, held in memory."""
PICTURE_BYTES_MAX: Final = 256 * MIB
"""An uploaded PNG or GIF when decoded, which happens in memory: a colour photograph of 89 million pixels."""
PICTURE_FRAMES_MAX: Final = 10_000
"""Frames of an uploaded GIF: ten minutes of ultrasound. Empty ones cost an upload nothing, but us something."""
VIDEO_BOXES_MAX: Final = 100_000
"""Boxes looked at in an uploaded MP4; a fragmented film of hours has some ten thousand."""
STOW_FINISHING_MAX: Final = 16
"""Objects of one request that are being flushed and committed while the next arrives: as many as the store flushes at once."""
STOW_BULK_BYTES_MAX: Final = 8 * 1024 * MIB
"""Bulk data parts of one request, kept in a temporary file until the metadata that name them are complete."""
MULTIPART_HEADER_BYTES_MAX: Final = 16 * KIB
"""Headers of one part. Ordinary parts have three of them, under 500 bytes."""
MULTIPART_PARTS_MAX: Final = 2 * STOW_OBJECTS_MAX
"""Each uploaded object may come as a metadata part and a bulk data part."""
MULTIPART_BOUNDARY_CHARS_MAX: Final = 200
"""RFC 2046 5.1.1 allows 70; some writers add to it."""
MULTIPART_PREAMBLE_BYTES_MAX: Final = 64 * KIB
"""Text before the first part. Mail writers put a sentence there; more means that the boundary is wrong."""
ACCEPT_CHARS_MAX: Final = 16 * KIB
"""An Accept header that lists every media type with every transfer syntax has about 8 KiB."""
MEDIA_RANGES_MAX: Final = 200
"""All media types of PS3.18 8.7.3 with all their transfer syntaxes are about 60."""
MEDIA_PARAMETERS_MAX: Final = 16
"""Parameters of one media type; DICOM has four (type, transfer-syntax, charset, boundary)."""
FRAME_LIST_MAX: Final = 10_000
"""Frames that one URL names. Digital pathology and cardiac CT have a few thousand; a URL of 64 KiB holds as many."""
GZIP_BYTES_MIN: Final = 1 * KIB
"""Below this, compressing an answer saves no packet."""
GZIP_PIECE_BYTES: Final = 64 * KIB
"""Compressed at a time, in under a millisecond: other requests wait no longer than that."""
QIDO_HEADER_READS_MAX: Final = 200
"""Matches of one page whose object is opened for attributes that the index lacks; each costs about a millisecond."""
FRAME_LOOKUP_SERIES_MAX: Final = 16
"""Series whose instances a web worker remembers for a few seconds; more users than that seldom scroll at once."""
FRAME_LOOKUP_INSTANCES_MAX: Final = 2000
"""Instances remembered of each: about 2 MiB. A thin-slice CT has 1,000; of longer series the rest is asked for singly."""
FRAMES_PER_READ: Final = 64
"""Frames of one request that are looked up together; of an animation of 10,000 only so many are open at once."""
BULK_ELEMENTS_MAX: Final = 1000
"""Elements that are stepped over to find one behind Pixel Data or a long header; a handful stand there."""
BEHIND_PIXELS_BYTES_MAX: Final = 1 * MIB
"""Elements behind Pixel Data that metadata show. Digital signatures have a few KiB; device films of megabytes stay out."""
FRAGMENTS_STEPPED_MAX: Final = 64
"""Fragments stepped over to find them where no offset table leads there: a millisecond."""
BYTE_RANGES_MAX: Final = 50
"""Ranges of one request. A reader of a PDF asks for some 20; more only cost the server (RFC 9110 17.15)."""
VIEWPORT_SIDE_MAX: Final = 16_384
"""Pixels of one side of a rendered image: twice what the largest displays show."""
RENDER_PIXELS_MAX: Final = 64 * 1024 * 1024
"""A 8192 x 8192 image. A larger frame is refused for rendering, not for retrieval."""

# --- HL7 ---
HL7_MESSAGE_BYTES_MAX: Final = 80 * MIB
"""Of one message, which is held in memory: a report of 50 MB as base64 has 67 MB."""
HL7_HELD_BYTES_MAX: Final = 512 * MIB
"""Of all messages that are arriving at one process; a connection that would go beyond is closed, and its sender comes again."""
HL7_CONNECTIONS_MAX: Final = 500
"""Of one process. A large hospital has some fifty senders; each keeps a connection or a few."""
HL7_IDLE_TIMEOUT_S: Final = 86_400.0
"""Without a message. Senders keep their connection over quiet nights and weekends; dead ones are found by TCP's keep-alive."""
HL7_FRAME_TIMEOUT_S: Final = 120.0
"""From the first byte of a message to its end block: the longest over a line of 6 Mbit/s."""
HL7_END_MARK_TIMEOUT_S: Final = 0.5
"""How long the last byte of an end block is waited for; senders who never send it need their answer, too."""
HL7_ANSWER_TIMEOUT_S: Final = 60.0
"""How long a receiver may take for its acknowledgement. Most answer within a second."""

# --- certificates ---
CERTIFICATE_FILE_BYTES_MAX: Final = 256 * KIB
"""Of an upload. A chain of three has 6 KiB, an issuer's list of revoked certificates seldom more than 100."""
CERTIFICATE_CHAIN_MAX: Final = 10
"""Certificates of an upload. Chains have two or three."""
CERTIFICATE_NAMES_MAX: Final = 50
"""Host names and addresses in one certificate that is made here."""
CERTIFICATE_DAYS_MAX: Final = 3650
"""Of a self-signed certificate. Whoever wants it to be for ever forgets that it is there."""
CERTIFICATES_MAX: Final = 100
"""Of ours, and as many trusted ones: every context is made of all of those."""
REVOKED_MAX: Final = 10_000
"""Numbers on one list; they are held in memory by each worker."""
CERTIFICATE_POLL_S: Final = 2.0
"""How soon a changed certificate is shown to new connections. Asking costs one row."""
HANDSHAKES_MAX: Final = 200
"""TLS handshakes that a worker has under way. Each ends within CONNECT_TIMEOUT_S; more callers at once are an attack."""

# --- people ---
PASSWORD_CHARS_MAX: Final = 128
"""NIST 800-63B asks for 64 at least; more only makes work before the hash."""
PASSWORD_HASHES_MAX: Final = 2
"""Computed at once in one process: each takes 64 MiB and tens of milliseconds of a core, of four threads."""
PASSWORD_HASHES_WAITING_MAX: Final = 32
"""Logins beyond are told to come back: a flood of them waits seconds, not minutes."""
LOGIN_CHARS_MAX: Final = 64
"""A login name; mail addresses of people fit."""
ACCOUNT_FAILURES_MAX: Final = 5
"""Wrong passwords of one account before it has to wait: a person's typing errors."""
ADDRESS_FAILURES_MAX: Final = 30
"""The same of one address, behind which a whole ward may sit."""
LOGIN_BLOCK_MAX_S: Final = 900
"""The wait doubles up to here: about a hundred guesses a day, what NIST 800-63B 3.2.2 allows in all until a right one."""
LOGIN_FAILURE_MEMORY_S: Final = 86_400
"""Failures are forgotten after a day without one."""
KNOWN_ADDRESS_DAYS_MAX: Final = 90
"""An address from which an account has logged in is remembered so long."""
KNOWN_ADDRESSES_MAX: Final = 20
"""Remembered of one account; people have a few desks."""
SESSIONS_PER_ACCOUNT_MAX: Final = 50
"""At more, the oldest end."""
SECOND_FACTOR_S: Final = 300
"""Between the right password and the code: time to find the telephone."""
RECOVERY_CODES_MAX: Final = 10
"""Made at a time; each is good once."""
PASSKEYS_PER_ACCOUNT_MAX: Final = 20
"""People have a telephone, a computer and some security keys."""
PASSKEY_CHALLENGE_S: Final = 300
"""Between the question to a passkey and its answer; W3C WebAuthn 15.1 recommends five to ten minutes."""
FRESH_LOGIN_S: Final = 300
"""So long after a login nobody is asked for the password once more before they change their passkeys."""
DIRECTORY_CONNECT_TIMEOUT_S: Final = 4
"""For a directory's server to accept; then the next one is asked. Whoever logs in waits so long."""
DIRECTORY_ANSWER_TIMEOUT_S: Final = 8
"""For each of its answers."""
DIRECTORY_DOWN_S: Final = 30.0
"""A server of the directory that did not answer is asked last for so long."""
DIRECTORY_LOGINS_MAX: Final = 8
"""Logins that one process asks the directory about at once; each takes a thread."""
DIRECTORY_GROUPS_MAX: Final = 1000
"""Groups of one person, groups in groups included; Active Directory lets nobody in with more than 1,015."""
DIRECTORY_NESTING_MAX: Final = 10
"""Groups in groups in groups."""
OPENID_TIMEOUT_S: Final = 8.0
"""For each answer of an OpenID provider; somebody waits in front of the login page."""
OPENID_ANSWER_BYTES_MAX: Final = 512 * KIB
"""What a provider tells of itself, its keys, or a person; the longest hold some hundred groups."""
OPENID_CACHE_S: Final = 3600.0
"""So long what a provider tells of itself and its keys is believed; a key that is not among them is asked for at once."""
OPENID_RETRY_S: Final = 5.0
"""No more often it is asked again for what it did not give: its addresses while it is down, a key that it does not have."""
OPENID_LOGIN_S: Final = 600
"""Between leaving for the provider and coming back: time for a password, a code and a telephone that rings."""
OPENID_LEEWAY_S: Final = 120
"""How far the clocks of Fileroom and the provider may be apart."""
API_TOKENS_MAX: Final = 1000
"""Of an archive: every program of a large hospital has one."""
API_TOKEN_DAYS_MAX: Final = 3650
"""Ten years; whoever wants longer makes one without an end."""
RATE_ADDRESSES_MAX: Final = 10_000
"""Addresses whose requests without a login one process counts; the one that was silent the longest is forgotten."""
ACCESS_CACHE_S: Final = 3.0
"""How long a web worker goes on believing a session or token without asking the database; ending one is felt so late."""
ACCESS_CACHE_ENTRIES_MAX: Final = 1000
"""Sessions and tokens believed at once; the oldest are asked for again."""
STUDY_PAGE_MAX: Final = 500
"""Studies of one page of the study list: what can be marked at once, and about 400 KB of HTML."""
LIVE_CLIENTS_MAX: Final = 200
"""Pages that one web worker tells of changes; each holds a connection. Others look by themselves, less often."""
LIVE_STUDIES_MAX: Final = 200
"""Changed studies told at once; a page that is told of more than it can show looks anew."""
SAVED_FILTERS_MAX: Final = 50
"""Filters that one person may keep; more could not be told apart."""
MEDIA_DOWNLOAD_BYTES_MAX: Final = 8 * 1024 * MIB
"""A medium that is made for a download lies in the temporary folder meanwhile: a DVD of two layers."""
SERIES_SHOWN_MAX: Final = 100
"""Series of one page of a study; few studies have more, and each has a thumbnail that must be made."""
PRIORS_SHOWN_MAX: Final = 200
"""Studies of one patient on the time line; more dots than that cannot be told apart."""
ATTRIBUTES_SHOWN_MAX: Final = 3000
"""Elements of one object in its table; headers of enhanced multi-frame objects have a hundred thousand."""
REPORT_NODES_MAX: Final = 5000
"""Content items of one structured report that are shown; long measurement reports have some hundred."""
FORM_BYTES_MAX: Final = 64 * KIB
"""A submitted form: names, a list of patients, no files."""
API_BODY_BYTES_MAX: Final = 4 * MIB
"""JSON sent to the administration API; the largest is an import of some thousand nodes."""
UPLOAD_FORM_BYTES_MAX: Final = 1 * MIB
"""A form with a certificate and its key, each of CERTIFICATE_FILE_BYTES_MAX at most."""
REPORT_FORM_BYTES_MAX: Final = 5 * MIB
"""A form with a report: 400,000 characters, each of up to twelve bytes where a browser has to escape it."""
FORM_FIELDS_MAX: Final = 200
"""The largest form, that of a role, has some thirty."""
ROW_SCOPE_ENTRIES_MAX: Final = 1000
"""Entries of one list of a row scope; each is part of every search."""

# --- pixels ---
FRAMES_MAX: Final = 2_000_000
"""Frames of one object. Whole-slide images reach a few hundred thousand tiles."""
FRAGMENTS_MAX: Final = 4_000_000
"""Fragments of one object; zero-length ones could otherwise fill 2 GB with 268 million of them."""
FRAME_BYTES_MAX: Final = 512 * MIB
"""One frame held in memory: 8192 x 8192 pixels of 64 bits. A longer one is served in pieces, never decoded."""
FRAGMENT_SCAN_BYTES: Final = 8 * KIB
"""Read at a time while walking over fragments: many small ones per read, little wasted on large ones."""
DEFLATED_OBJECT_BYTES_MAX: Final = 1024 * MIB
"""A deflated data set has no random access, so it is inflated in memory; more than this is refused for its pixels."""
RENDER_FRAMES_MAX: Final = 1000
"""Frames of one GIF: 40 seconds at 25 per second."""
FILM_FRAMES_MAX: Final = 10_000
"""Frames of one MP4: five minutes at 30 per second. What is longer is asked for in parts, or as it is stored."""
FILM_PIXELS_MAX: Final = 4096 * 2304
"""Pixels of a frame of video: level 5.2 of H.264, above what DICOM's video syntaxes allow."""
FILM_BYTES_MAX: Final = 256 * MIB
"""An MP4 that is made, in memory: five minutes at 7 Mbit/s."""
FILM_TIMEOUT_S: Final = 120.0
"""To decode and encode one film. Full HD takes 25 ms a frame, standard television 5."""
FILM_MEMORY_BYTES_MAX: Final = 2 * 1024 * MIB
"""Address space of the process that decodes or encodes a film; an encoder of 4096 x 2304 pixels takes half of it."""
FILMS_MAX: Final = 2
"""Films that one web worker makes at once; still pictures do not wait for them."""
LUT_ENTRIES_MAX: Final = 65536
"""PS3.3 C.7.6.3.1.5 and C.11.1.1: a lookup table has at most 2 to the power of 16 entries."""
ANIMATION_PIXELS_MAX: Final = 128 * 1024 * 1024
"""All frames of one animated answer together, after scaling; the encoder holds them in memory."""
ICC_PROFILE_BYTES_MAX: Final = 4 * MIB
"""Display profiles have a few KiB, scanner profiles up to 2 MiB; a longer one is left out of rendered images."""
OVERLAY_GROUPS_MAX: Final = 16
"""PS3.5 7.6: overlays repeat in the even groups 6000 to 601E."""
SHUTTER_VERTICES_MAX: Final = 1024
"""Vertices of a polygonal shutter. Collimators have up to eight."""
TRANSCODE_SPOOL_BYTES: Final = 64 * MIB
"""Encoded frames kept in memory while their offset table is made; more go to a temporary file."""
