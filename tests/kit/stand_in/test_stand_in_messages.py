"""Messages of the stand-in, and the JSON that they hold."""

import json

import pytest
from scripted import (
    HOSTILE,
    aborted,
    code_of,
    data_of,
    run_script,
    stand_in_only,
)
from ten_runtime import (
    AudioFrame,
    AudioFrameDataFmt,
    Data,
    TenError,
    TenErrorCode,
)

# Messages


def test_a_fresh_frame_is_interleaved_and_else_zero():
    """An AudioFrame that was only created holds 0, but for data_fmt 1."""
    frame = AudioFrame.create("pcm_frame")
    assert frame.get_sample_rate() == 0
    assert frame.get_bytes_per_sample() == 0
    assert frame.get_number_of_channels() == 0
    assert frame.get_samples_per_channel() == 0
    assert frame.get_timestamp() == 0
    assert frame.get_data_fmt() == AudioFrameDataFmt.INTERLEAVE == 1


def test_frame_setters_take_int_only():
    """A float is refused by the setters of an AudioFrame."""
    frame = AudioFrame.create("pcm_frame")
    with pytest.raises(TypeError):
        frame.set_sample_rate(24000.0)  # pyright: ignore[reportArgumentType]


def test_frame_keeps_an_enum_as_its_number():
    """set_data_fmt takes the enum and get_data_fmt gives its value."""
    frame = AudioFrame.create("pcm_frame")
    frame.set_data_fmt(AudioFrameDataFmt.NON_INTERLEAVE)
    assert frame.get_data_fmt() == 2


def test_locked_buffer_is_the_frames_own():
    """Bytes written through lock_buf are those that get_buf gives."""
    frame = AudioFrame.create("pcm_frame")
    frame.alloc_buf(4)
    view = frame.lock_buf()
    view[:] = b"abcd"
    frame.unlock_buf(view)
    assert frame.get_buf() == b"abcd"


def test_get_buf_copies():
    """Changing the copy of get_buf leaves the frame as it was."""
    frame = AudioFrame.create("pcm_frame")
    frame.alloc_buf(2)
    before = frame.get_buf()
    frame.get_buf()[0] ^= 1
    assert frame.get_buf() == before


@stand_in_only
def test_fresh_memory_is_not_zeroed():
    """The memory of alloc_buf is no silence."""
    frame = AudioFrame.create("pcm_frame")
    frame.alloc_buf(320)
    assert frame.get_buf() != bytes(320)


def test_get_buf_of_an_unallocated_frame_raises():
    """get_buf raises SystemError on a frame that was never allocated."""
    with pytest.raises(SystemError):
        AudioFrame.create("pcm_frame").get_buf()


def test_get_buf_of_unallocated_data_is_empty():
    """get_buf gives an empty bytearray on Data without a buffer."""
    assert Data.create("x").get_buf() == bytearray()


@pytest.mark.parametrize("size", [0, -1])
def test_alloc_buf_needs_a_positive_size(size):
    """alloc_buf refuses a size of 0 or less."""
    with pytest.raises(ValueError):
        AudioFrame.create("pcm_frame").alloc_buf(size)


def test_messages_are_made_by_create_only():
    """Calling a message class raises."""
    with pytest.raises(ValueError):
        Data()
    with pytest.raises(NotImplementedError):
        Data("x")


def test_json_is_indented_by_four():
    """get_property_to_json indents by 4 and leaves text unescaped."""
    data = Data.create("x")
    data.set_property_from_json(None, '{"a": "ü"}')
    assert data.get_property_to_json("") == ('{\n    "a": "ü"\n}', None)
    assert data.get_property_to_json(None) == data.get_property_to_json()


def test_json_of_a_dotted_path():
    """A dotted path reaches into objects and lists."""
    data = Data.create("x")
    data.set_property_from_json(None, '{"a": {"b": [1, {"c": 2}]}}')
    assert data.get_property_to_json("a.b[1].c") == ("2", None)


def test_json_of_a_missing_path_is_an_error():
    """A path that leads nowhere gives an empty text and a TenError."""
    text, error = Data.create("x").get_property_to_json("a.b")
    assert text == ""
    assert error is not None and error.error_message()


def test_typed_getters_read_dotted_paths():
    """A getter gives the value at the path and no error."""
    data = data_of('{"a": {"i": 7, "s": "x", "f": 1.5, "b": true}}')
    assert data.get_property_int("a.i") == (7, None)
    assert data.get_property_string("a.s") == ("x", None)
    assert data.get_property_float("a.f") == (1.5, None)
    assert data.get_property_bool("a.b") == (True, None)
    data.set_property_buf("a.raw", b"\1\2")
    assert data.get_property_buf("a.raw") == (bytearray(b"\1\2"), None)


def test_a_missing_value_is_code_100000():
    """Every getter gives its default where nothing stands at the path."""
    data = data_of('{"a": 1}')
    for path in ("b", "a.b", "a[0]"):
        assert code_of(data.get_property_int(path)) == (0, 100000)
        assert code_of(data.get_property_string(path)) == ("", 100000)
        assert code_of(data.get_property_float(path)) == (0.0, 100000)
        assert code_of(data.get_property_bool(path)) == (False, 100000)
        assert code_of(data.get_property_buf(path)) == (b"", 100000)


def test_getters_do_not_convert():
    """A getter of another type gives its default and a code of its own."""
    data = data_of('{"text": "1", "number": 1, "null": null, "list": []}')
    for path in ("text", "null", "list"):
        assert code_of(data.get_property_int(path)) == (0, 1)
    for path in ("number", "null", "list"):
        assert code_of(data.get_property_string(path)) == ("", 3)


def test_errors_of_a_message_are_no_ten_errors():
    """They are the binding's native class, with the same methods."""
    data = data_of('{"a": 1}')
    outcomes = (
        data.get_property_to_json("b")[1],
        data.get_property_int("b")[1],
        data.get_property_string("a")[1],
        data.set_property_from_json(None, "{"),
    )
    for error in outcomes:
        assert error is not None and error.error_message()
        assert type(error.error_code()) is int
        assert type(error).__name__ == "_TenError"
        assert not isinstance(error, TenError)
    assert isinstance(
        TenError.create(TenErrorCode.ErrorCodeGeneric), type(outcomes[0])
    )


def test_setting_after_a_send_raises(host_of):
    """A consumed message refuses setters as it does getters."""
    data = Data.create("x")
    host_of().send_data(data)
    for call in (
        lambda: data.get_property_int("a"),
        lambda: data.set_property_int("a", 1),
        lambda: data.get_property_to_json(None),
        lambda: data.get_name(),
        lambda: data.get_source(),
    ):
        with pytest.raises(ValueError, match=r"Msg is invalidated\."):
            call()


# JSON that the C core keeps, and aborts on when it is to write it


@pytest.mark.parametrize("text", HOSTILE)
def test_writing_hostile_json_aborts(text):
    """get_property_to_json ends the process; no `except` helps."""
    done = run_script(f"""
        data = Data.create("x")
        assert data.set_property_from_json(None, {text!r}) is None
        copy = data.clone()
        try:
            copy.get_property_to_json(None)
        except BaseException:
            print("survived")
    """)
    assert aborted(done), done.stderr
    assert "survived" not in done.stdout


def test_property_next_to_a_hostile_value_can_be_written():
    """Only written bytes count."""
    data = data_of(f'{{"a": {{"b": 1}}, "c": {2**63}}}')
    assert json.loads(data.get_property_to_json("a")[0]) == {"b": 1}


@pytest.mark.parametrize("text", HOSTILE)
def test_typed_getters_survive_hostile_json(text):
    """They give a value or an error, and end nothing."""
    data = data_of(text)
    for path in ("turn_id", "unrelated", "metadata.turn_id", "list[1].deep"):
        data.get_property_int(path)
        data.get_property_string(path)
        data.get_property_float(path)
        data.get_property_bool(path)
        data.get_property_buf(path)


def test_an_int_above_63_bits_is_an_error():
    """get_property_int gives 0 and an error from 2**63 on."""
    data = data_of(f'{{"most": {2**63 - 1}, "more": {2**63}}}')
    assert data.get_property_int("most") == (2**63 - 1, None)
    number, error = data.get_property_int("more")
    assert number == 0 and error is not None


@pytest.mark.parametrize(
    "digits",
    [str(2**64), str(-(2**63) - 1), str(10**20)],
    ids=["2**64", "below -2**63", "10**20"],
)
def test_an_integer_beyond_64_bits_is_a_float(digits):
    """JSON numbers that no 64 bits hold are floats, and can be written."""
    data = data_of(f'{{"a": {digits}}}')
    assert data.get_property_float("a") == (float(digits), None)
    assert data.get_property_to_json(None)[1] is None


def test_a_string_ends_at_its_first_nul():
    """`\\u0000` in JSON cuts the string there, nested or not."""
    data = data_of(r'{"a": "be\u0000fore", "b": ["\u0000x", {"c": "y\u0000"}]}')
    assert data.get_property_string("a") == ("be", None)
    tree = json.loads(data.get_property_to_json(None)[0])
    assert tree == {"a": "be", "b": ["", {"c": "y"}]}


def test_an_int_is_no_bool_and_no_float():
    """get_property_bool and get_property_float refuse an integer."""
    data = Data.create("x")
    data.set_property_int("a", 1)
    assert data.get_property_bool("a")[1] is not None
    assert data.get_property_float("a")[1] is not None


def test_setting_a_dotted_path_makes_the_objects_on_it():
    """set_property_int on a.b makes a."""
    data = Data.create("x")
    assert data.set_property_int("a.b", 1) is None
    assert json.loads(data.get_property_to_json("")[0]) == {"a": {"b": 1}}


def test_setting_the_root_replaces_the_tree():
    """set_property_from_json(None, ...) forgets the earlier properties."""
    data = Data.create("x")
    data.set_property_int("a", 1)
    data.set_property_from_json(None, '{"b": 2}')
    assert json.loads(data.get_property_to_json("")[0]) == {"b": 2}


@pytest.mark.parametrize(
    "text",
    ["", "{", "1 2", f'{{"a": 1{"0" * 5000}}}', '{"a": 1e400}', '{"a": NaN}'],
    ids=["empty", "cut", "two", "10**5000", "1e400", "NaN"],
)
def test_invalid_json_is_an_error(text):
    """And leaves the tree as it was. So is a number that no float can hold."""
    data = data_of('{"b": 1}')
    error = data.set_property_from_json(None, text)
    assert error is not None
    assert error.error_code() == TenErrorCode.ErrorCodeInvalidJSON
    assert data.get_property_int("b") == (1, None)


def test_clone_shares_no_state():
    """A clone keeps its samples and properties when the frame changes."""
    frame = AudioFrame.create("pcm_frame")
    frame.set_sample_rate(24000)
    frame.alloc_buf(2)
    before = frame.get_buf()
    frame.set_property_int("a", 1)
    clone = frame.clone()
    frame.set_property_int("a", 2)
    frame.lock_buf()[0] ^= 1
    assert clone.get_buf() == before
    assert clone.get_property_int("a") == (1, None)
    assert clone.get_sample_rate() == 24000


def test_sending_consumes_the_message(host_of):
    """After a send the getters of the message raise ValueError."""
    host = host_of()
    data = Data.create("x")
    host.send_data(data)
    with pytest.raises(ValueError, match=r"Msg is invalidated\."):
        data.get_name()


@pytest.mark.parametrize(
    "call",
    [
        "data.get_buf()",
        "data.clone()",
        "data.alloc_buf(1)",
        "frame.get_sample_rate()",
        "frame.set_sample_rate(16000)",
        "frame.get_buf()",
        "frame.clone()",
        "video.get_width()",
    ],
)
def test_a_sent_message_has_no_content(call):
    """All but the getters that raise end the process."""
    done = run_script(f"""
        register("e")
        data, frame = Data.create("x"), AudioFrame.create("x")
        video = VideoFrame.create("x")
        host = ExtensionHost("e")
        host.start()
        host.send_data(data)
        host.send_audio_frame(frame)
        host.send_video_frame(video)
        try:
            {call}
        except BaseException:
            pass
    """)
    assert aborted(done)


def test_a_result_of_no_command_aborts():
    """The memory of anything that CmdResult.create gets is read."""
    done = run_script("""
        class FakeCmd:
            pass
        CmdResult.create(StatusCode.OK, FakeCmd())
    """)
    assert aborted(done)


def test_sending_twice_aborts():
    """Sending a consumed message ends the process."""
    done = run_script("""
        register("e")
        host = ExtensionHost("e")
        host.start()
        data = Data.create("x")
        host.send_data(data)
        host.send_data(data)
    """)
    assert aborted(done)


def test_a_root_that_is_no_object_aborts():
    """Setting the root of a tree to a list ends the process."""
    done = run_script("Data.create('x').set_property_from_json(None, '[]')")
    assert aborted(done)
