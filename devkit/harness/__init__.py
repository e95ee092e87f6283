"""The extension hosted in this process, for commands and tests.

CONTRIBUTING.md says which harness to use when. None of them connects audio
frames or commands that the extension sends unless `voice_wired` or
`flush_wired` is given; an unconnected send with
`SendOptions(wait_for_result=True)` returns a TenError of code 7.
"""
