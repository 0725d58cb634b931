"""Joining graphs: chains compute what their links compute one after the other."""

from __future__ import annotations

from netdyno.exporters import GraphBuilder, join, largest_difference


def test_a_chain_computes_its_links_in_order(block, mbconv, inputs_of, torch_outputs):
    links = [
        mbconv(block(excite=True)),
        mbconv(block(stride=2, filters=12)),
        mbconv(block(channels=12, side=4)),
    ]
    chain = join("chain", links)
    inputs = inputs_of(chain)
    expected = inputs["x"]
    for link in links:
        (expected,) = torch_outputs(link, {"x": expected}).values()
    assert largest_difference(torch_outputs(chain, inputs), {chain.outputs[0]: expected}) == 0


def test_equal_links_keep_apart(block, mbconv):
    link = mbconv(block(skip=True))
    chain = join("twice", [link, link])
    assert len(chain.nodes) == 2 * len(link.nodes)
    assert len(chain.weights) == 2 * len(link.weights)
    assert len({node.output for node in chain.nodes}) == len(chain.nodes)


def test_a_chain_knows_its_ends(block, mbconv):
    link = mbconv(block(filters=12))
    chain = join("one", [link])
    assert (chain.name, chain.inputs, chain.outputs) == ("one", ("x",), ("output",))
    assert chain.shapes["x"] == (1, 8, 8, 8)
    assert chain.shapes["output"] == (1, 12, 8, 8)


def test_a_skip_over_the_whole_link_reads_the_renamed_input():
    builder = GraphBuilder("residual")
    x = builder.input("x", (1, 4, 3, 3))
    residual = builder.build(builder.add(builder.unary("relu", x), x))
    chain = join("two", [residual, residual])
    assert chain.nodes[3].inputs == ("01.x.relu", "00.x.relu.add")
    # x, relu and sum of one link are alive together; the link before has been freed by then
    assert chain.peak_activation_bytes() == residual.peak_activation_bytes() == 3 * 4 * 36
