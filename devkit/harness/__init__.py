"""The extension hosted in this process, for commands and tests.

Which harness to use when:

`tests/agent.py` (`play`, `Agent`)
    TEN's standalone tester: the extension on TEN's own thread and loop, a
    script of the agent in the test. The only one that runs under the real
    runtime and the stand-in alike: the choice for each test of behavior that
    a graph can observe. An end of the process fails the test.
`rig.Rig`
    The extension on the caller's event loop, no runtime at all: its handlers
    are awaited directly, its output is read from `rig.env`, its clock is
    handed in (`MovableClock`, `VirtualClock`). The choice where time has to run
    faster or jump, where many extensions share one loop, or where a test
    looks inside: random walks, renewals, the soak. It says nothing about
    threads or delivery order.
`stage.Stage` (`open_stage`)
    The extension in the stand-in's host, with its addon, property.json, a
    local Motion Server and the demo's credentials. Synchronous, in real time.
    The choice for commands that a person watches: the demo and the window.
    Always on the stand-in, which needs no App.
`run_graph.GraphRun`
    Several extensions of a graph file, each in a host of the stand-in, wired
    as the graph says. The choice for whole graphs: bin/run-graph and the
    examples.
`devkit.ten_runtime._host.ExtensionHost`
    What `Stage` and `GraphRun` are built on. The choice for tests of the
    stand-in itself and for benchmarks.

`messages` builds what an agent's nodes send, for all of them: valid messages,
and hostile ones that other nodes could send. Below all of these, unit tests
drive `Avatar`, `Speech` and the session with the fakes in `tests/fakes.py`.

None of them connects audio frames or commands that the extension sends unless
`voice_wired` or `flush_wired` is given; only the standalone tester always
does. An unconnected send with `SendOptions(wait_for_result=True)` returns a
TenError of code 7.
"""
