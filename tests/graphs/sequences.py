"""Small models of texts, lines of writing and numbers, whose samples have shapes of their own."""

from __future__ import annotations

from pathlib import Path

import onnx

from tests.graphs.small import network, weights

WIDTH = 32
SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]")
NOUNS = ("cat", "dog", "bird", "mat", "road", "tree")
WORDS = (*SPECIAL, *NOUNS, "a", "the", "sits", "runs", "flies", "on", "over", "under", "red", "old")


def text_model(head: str = "sentence_embedding", rows: int = len(WORDS), length: int | str = "T") -> onnx.ModelProto:
    """Embedding, two products with a Relu between them, and the head: one of these.

    "sentence_embedding": the mean over the mask, (N, 32); "tokens": a vector for each token, (N, T, 32); "logits":
    three classes, (N, 3); "score": a number, (N, 1).
    """
    ends = {
        "sentence_embedding": "sentence_embedding = MatMul(mean, w3)",
        "tokens": "tokens = MatMul(hidden, w3)",
        "logits": "logits = MatMul(mean, w4)",
        "score": "score = MatMul(mean, w5)",
    }
    shape = {
        "sentence_embedding": f"N,{WIDTH}",
        "tokens": f"N,{length},{WIDTH}",
        "logits": "N,3",
        "score": "N,1",
    }[head]
    return network(
        f"""(int64[N,{length}] input_ids, int64[N,{length}] attention_mask) => (float[{shape}] {head})
        <int64[1] last = {{2}}, int64[1] one = {{1}}> {{
            embedded = Gather(table, input_ids)
            first = MatMul(embedded, w1)
            active = Relu(first)
            hidden = MatMul(active, w2)
            floats = Cast<to = 1>(attention_mask)
            mask = Unsqueeze(floats, last)
            masked = Mul(hidden, mask)
            total = ReduceSum<keepdims = 0>(masked, one)
            count = ReduceSum<keepdims = 0>(mask, one)
            mean = Div(total, count)
            {ends[head]}
        }}""",
        {
            "table": weights(rows, WIDTH, gain=5),
            "w1": weights(WIDTH, 64, gain=1.4),
            "w2": weights(64, WIDTH, gain=1.4),
            **{"sentence_embedding": {"w3": weights(WIDTH, WIDTH)}, "tokens": {"w3": weights(WIDTH, WIDTH)}}.get(
                head, {"w4": weights(WIDTH, 3)} if head == "logits" else {"w5": weights(WIDTH, 1)}
            ),
        },
    )


def write_tokenizer(folder: Path, words: tuple[str, ...] = WORDS) -> Path:
    """A tokenizer of whole words, as Hugging Face's tokenizers writes it."""
    from tokenizers import Tokenizer, models, pre_tokenizers, processors

    own = Tokenizer(models.WordLevel({word: number for number, word in enumerate(words)}, unk_token="[UNK]"))
    own.pre_tokenizer = pre_tokenizers.Whitespace()
    own.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]",
        pair="[CLS] $A [SEP] $B:1 [SEP]:1",
        special_tokens=[("[CLS]", words.index("[CLS]")), ("[SEP]", words.index("[SEP]"))],
    )
    own.save(str(folder / "tokenizer.json"))
    return folder / "tokenizer.json"


def line_model(classes: int = 12) -> onnx.ModelProto:
    """Lines of 8 pixels' height and any width, to the share of each class at every second column: (N, W/2, classes)."""
    return network(
        f"""(float[N,1,8,W] x) => (float[N,L,{classes}] shares) {{
            first = Conv<pads = [1,1,1,1], strides = [1,2]>(x, w1)
            active = Relu(first)
            scores = Conv<pads = [0,1,0,1]>(active, w2)
            columns = Squeeze(scores, axis)
            steps = Transpose<perm = [0,2,1]>(columns)
            shares = Softmax<axis = -1>(steps)
        }}""",
        {
            "w1": weights(32, 1, 3, 3, gain=1.4),
            "w2": weights(classes, 32, 8, 3, gain=6),
            "axis": onnx.numpy_helper.to_array(onnx.helper.make_tensor("axis", 7, [1], [2])),
        },
    )


def state_model() -> onnx.ModelProto:
    """A window of any length and a state whose batch is its second axis, to a number and the next state."""
    return network(
        """(float[N,T] window, float[2,N,32] state) => (float[N,1] level, float[2,N,32] next)
        <int64[1] last = {2}, int64[1] one = {1}, int64[1] zero = {0}> {
            values = Unsqueeze(window, last)
            spread = MatMul(values, w1)
            active = Relu(spread)
            pooled = ReduceMean<axes = [1], keepdims = 0>(active)
            before = ReduceMean<axes = [0], keepdims = 0>(state)
            both = Add(pooled, before)
            mixed = MatMul(both, w2)
            level = MatMul(mixed, w3)
            row = Unsqueeze(mixed, zero)
            next = Add(row, state)
        }""",
        {"w1": weights(1, 32), "w2": weights(32, 32), "w3": weights(32, 1)},
    )
