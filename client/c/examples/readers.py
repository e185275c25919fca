"""Lists the readers and selects an application, with ctypes: no package is needed."""

import ctypes
import sys

library = ctypes.CDLL(sys.argv[1])
# A handle is a pointer. Without a declared type ctypes would cut it to 32 bits.
for name, result, arguments in [
    ("connect", ctypes.c_int32, [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_void_p]),
    ("client_readers", ctypes.c_int32, [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_void_p]),
    ("client_free", None, [ctypes.c_void_p]),
    ("readers_count", ctypes.c_size_t, [ctypes.c_void_p]),
    ("readers_get", ctypes.c_void_p, [ctypes.c_void_p, ctypes.c_size_t]),
    ("readers_free", None, [ctypes.c_void_p]),
    ("reader_name", ctypes.c_char_p, [ctypes.c_void_p]),
    ("commands_new", ctypes.c_void_p, []),
    ("commands_add_apdu", ctypes.c_int32, [ctypes.c_void_p, ctypes.c_char_p, ctypes.c_size_t]),
    ("commands_free", None, [ctypes.c_void_p]),
    ("transmit", ctypes.c_int32, [ctypes.c_void_p, ctypes.c_char_p] + [ctypes.c_void_p] * 4),
    ("answers_status_word", ctypes.c_uint16, [ctypes.c_void_p, ctypes.c_size_t]),
    ("answers_data", ctypes.c_void_p, [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_void_p]),
    ("answers_free", None, [ctypes.c_void_p]),
    ("error_message", ctypes.c_char_p, [ctypes.c_void_p]),
    ("error_free", None, [ctypes.c_void_p]),
    ("abi", ctypes.c_uint32, []),
]:
    function = getattr(library, "cardbroker_" + name)
    function.restype, function.argtypes = result, arguments


def call(name: str, *arguments: object) -> ctypes.c_void_p:
    """Calls a function that stores a handle; returns the handle."""
    handle, error = ctypes.c_void_p(), ctypes.c_void_p()
    if getattr(library, "cardbroker_" + name)(*arguments, ctypes.byref(handle), ctypes.byref(error)):
        message = library.cardbroker_error_message(error).decode()
        library.cardbroker_error_free(error)
        raise OSError(message)
    return handle


if library.cardbroker_abi() != 1:
    sys.exit("the library has another ABI")
client = call("connect", None)
readers = call("client_readers", client)
names = [
    library.cardbroker_reader_name(library.cardbroker_readers_get(readers, index))
    for index in range(library.cardbroker_readers_count(readers))
]
library.cardbroker_readers_free(readers)
for name in names:
    select = bytes.fromhex("00A4040006F04341524401")
    unit = library.cardbroker_commands_new()
    library.cardbroker_commands_add_apdu(unit, select, len(select))
    answers = call("transmit", client, name, unit, None)
    length = ctypes.c_size_t()
    data = library.cardbroker_answers_data(answers, 0, ctypes.byref(length))
    status_word = library.cardbroker_answers_status_word(answers, 0)
    print(name.decode(), ctypes.string_at(data, length.value).hex(), f"{status_word:04X}")
    library.cardbroker_answers_free(answers)
    library.cardbroker_commands_free(unit)
library.cardbroker_client_free(client)
