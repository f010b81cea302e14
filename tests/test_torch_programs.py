"""Programs of PyTorch's tutorials, run with both packages from the same weights: the losses are the same."""

from __future__ import annotations

import numpy as np
import pytest

import fastseq

pytestmark = pytest.mark.slow
PROGRAMS = {}
WORDS = ["Adams", "Bell", "Costa", "Duarte", "Endo", "Fukuda", "Garcia", "Hino"]


def program(function):
    """Register a program: it takes a package and gives losses."""
    PROGRAMS[function.__name__] = function
    return function


def same_weights(torch, model, seed=0):
    """Give a model weights that depend on names only."""
    rng = np.random.default_rng(seed)
    state = {}
    for name, value in model.state_dict().items():
        if "float" in str(value.dtype):
            state[name] = torch.tensor((rng.standard_normal(tuple(value.shape)) * 0.2).astype(np.float32))
        else:
            state[name] = value
    model.load_state_dict(state)
    return model


def numbers(torch, *shape, seed=0):
    """The same numbers for both packages."""
    return torch.tensor(np.random.default_rng(seed).standard_normal(shape).astype(np.float32))


@program
def names_by_characters(torch):
    """The tutorial's char-RNN, written by hand, with one-hot letters and updates by hand."""
    nn = torch.nn
    letters = "abcdefghijklmnopqrstuvwxyz"

    class RNN(nn.Module):
        def __init__(self, input_size, hidden_size, output_size):
            super().__init__()
            self.hidden_size = hidden_size
            self.i2h = nn.Linear(input_size + hidden_size, hidden_size)
            self.h2o = nn.Linear(hidden_size, output_size)
            self.softmax = nn.LogSoftmax(dim=1)

        def forward(self, input, hidden):
            hidden = torch.tanh(self.i2h(torch.cat((input, hidden), 1)))
            return self.softmax(self.h2o(hidden)), hidden

        def initHidden(self):
            return torch.zeros(1, self.hidden_size)

    def line_to_tensor(line):
        tensor = torch.zeros(len(line), 1, len(letters))
        for li, letter in enumerate(line.lower()):
            tensor[li][0][letters.find(letter)] = 1
        return tensor

    rnn, criterion, losses = same_weights(torch, RNN(len(letters), 12, 3)), nn.NLLLoss(), []
    for number, word in enumerate(WORDS):
        category, line = torch.tensor([number % 3], dtype=torch.long), line_to_tensor(word)
        hidden = rnn.initHidden()
        rnn.zero_grad()
        for i in range(line.size()[0]):
            output, hidden = rnn(line[i], hidden)
        loss = criterion(output, category)
        loss.backward()
        for p in rnn.parameters():
            p.data.add_(p.grad.data, alpha=-0.1)
        top_n, top_i = output.topk(1)
        losses += [loss.item(), float(top_i[0].item()), top_n[0].item()]
    return losses


@program
def sentiment(torch):
    """Embedding, packed bidirectional LSTM, last hidden states, BCEWithLogits, accuracy."""
    nn = torch.nn

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.embedding = nn.Embedding(30, 8, padding_idx=0)
            self.rnn = nn.LSTM(8, 6, num_layers=2, bidirectional=True, dropout=0.0, batch_first=True)
            self.fc = nn.Linear(12, 1)

        def forward(self, text, lengths):
            embedded = self.embedding(text)
            packed = nn.utils.rnn.pack_padded_sequence(
                embedded, lengths.to("cpu"), batch_first=True, enforce_sorted=False
            )
            packed_output, (hidden, cell) = self.rnn(packed)
            output, output_lengths = nn.utils.rnn.pad_packed_sequence(packed_output, batch_first=True)
            hidden = torch.cat((hidden[-2, :, :], hidden[-1, :, :]), dim=1)
            return self.fc(hidden) + output.sum(1).mean(1, keepdim=True)

    rng = np.random.default_rng(0)
    lengths = torch.tensor([7, 3, 5, 1])
    text = torch.tensor(rng.integers(1, 30, (4, 7)))
    text = text.masked_fill(torch.arange(7)[None, :] >= lengths[:, None], 0)
    label = torch.tensor([1.0, 0.0, 1.0, 0.0])
    model = same_weights(torch, Net())
    optimizer, criterion, losses = torch.optim.Adam(model.parameters(), lr=0.01), nn.BCEWithLogitsLoss(), []
    model.train()
    for _ in range(4):
        optimizer.zero_grad()
        predictions = model(text, lengths).squeeze(1)
        loss = criterion(predictions, label)
        acc = (torch.round(torch.sigmoid(predictions)) == label).float().sum() / len(label)
        loss.backward()
        optimizer.step()
        losses += [loss.item(), acc.item()]
    return losses


@program
def windows_of_a_series(torch):
    """Dataset, DataLoader, early stopping, best weights kept, h0 and c0 by hand, StepLR."""
    import copy

    nn, data = torch.nn, __import__(f"{torch.__name__}.utils.data", fromlist=["data"])

    class TimeSeriesDataset(data.Dataset):
        def __init__(self, series, seq_len):
            self.X = torch.stack([series[i : i + seq_len] for i in range(len(series) - seq_len)]).unsqueeze(-1)
            self.y = series[seq_len:].unsqueeze(-1)

        def __len__(self):
            return len(self.X)

        def __getitem__(self, i):
            return self.X[i], self.y[i]

    class LSTM(nn.Module):
        def __init__(self):
            super().__init__()
            self.hidden_size, self.num_layers = 8, 2
            self.lstm = nn.LSTM(1, 8, 2, batch_first=True)
            self.fc = nn.Linear(8, 1)

        def forward(self, x):
            h0 = torch.zeros(self.num_layers, x.size(0), self.hidden_size).requires_grad_().to(x.device)
            c0 = torch.zeros(self.num_layers, x.size(0), self.hidden_size).requires_grad_()
            out, _ = self.lstm(x, (h0.detach(), c0.detach()))
            return self.fc(out[:, -1, :])

    series = torch.tensor(np.sin(np.arange(60, dtype=np.float32) / 3))
    loader = data.DataLoader(TimeSeriesDataset(series[:40], 8), batch_size=8, shuffle=False)
    valid = data.DataLoader(TimeSeriesDataset(series[40:], 8), batch_size=8)
    model, criterion = same_weights(torch, LSTM()), nn.MSELoss()
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.05, weight_decay=1e-2)
    scheduler = torch.optim.lr_scheduler.StepLR(optimizer, step_size=2, gamma=0.5)
    best, patience, history = float("inf"), 2, []
    for _ in range(4):
        model.train()
        running = 0.0
        for xb, yb in loader:
            optimizer.zero_grad()
            loss = criterion(model(xb), yb)
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), max_norm=0.5)
            optimizer.step()
            running += loss.item() * xb.size(0)
        scheduler.step()
        model.eval()
        with torch.no_grad():
            val = sum(criterion(model(xb), yb).item() for xb, yb in valid) / len(valid)
        history += [running / len(loader.dataset), val, scheduler.get_last_lr()[0]]
        if val < best:
            best, patience = val, 2
            best_state = copy.deepcopy(model.state_dict())
        else:
            patience -= 1
            if patience == 0:
                break
    model.load_state_dict(best_state)
    return [*history, best]


@program
def part_of_speech(torch):
    """The official tagger: one sentence at a time, views, NLL of log-softmax, prepared sequences."""
    nn, F = torch.nn, torch.nn.functional
    data = [(["The", "dog", "ate", "the", "apple"], ["DET", "NN", "V", "DET", "NN"]),
            (["Everybody", "read", "that", "book"], ["NN", "V", "DET", "NN"])]  # fmt: skip
    word_to_ix: dict = {}
    for sent, _ in data:
        for word in sent:
            word_to_ix.setdefault(word, len(word_to_ix))
    tag_to_ix = {"DET": 0, "NN": 1, "V": 2}

    class LSTMTagger(nn.Module):
        def __init__(self, embedding_dim, hidden_dim, vocab_size, tagset_size):
            super(LSTMTagger, self).__init__()  # noqa: UP008 - as in the listing
            self.hidden_dim = hidden_dim
            self.word_embeddings = nn.Embedding(vocab_size, embedding_dim)
            self.lstm = nn.LSTM(embedding_dim, hidden_dim, batch_first=False)
            self.hidden2tag = nn.Linear(hidden_dim, tagset_size)

        def forward(self, sentence):
            embeds = self.word_embeddings(sentence)
            lstm_out, _ = self.lstm(embeds.view(len(sentence), 1, -1))
            tag_space = self.hidden2tag(lstm_out.view(len(sentence), -1))
            return F.log_softmax(tag_space, dim=1)

    model, losses = same_weights(torch, LSTMTagger(6, 6, len(word_to_ix), 3)), []
    loss_function, optimizer = nn.NLLLoss(), torch.optim.SGD(model.parameters(), lr=0.1)
    for _ in range(4):
        for sentence, tags in data:
            model.zero_grad()
            scores = model(torch.tensor([word_to_ix[w] for w in sentence], dtype=torch.long))
            loss = loss_function(scores, torch.tensor([tag_to_ix[t] for t in tags], dtype=torch.long))
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
    with torch.no_grad():
        values, indices = torch.max(model(torch.tensor([0, 1, 2])), 1)
    return [*losses, *values.tolist(), *map(float, indices)]


@program
def bilstm_crf(torch):
    """The official listing: forward algorithm and Viterbi, scalar by scalar."""
    nn = torch.nn
    START, STOP, tags = "<START>", "<STOP>", {"B": 0, "I": 1, "O": 2, "<START>": 3, "<STOP>": 4}

    def argmax(vec):
        _, idx = torch.max(vec, 1)
        return idx.item()

    def log_sum_exp(vec):
        max_score = vec[0, argmax(vec)]
        max_score_broadcast = max_score.view(1, -1).expand(1, vec.size()[1])
        return max_score + torch.log(torch.sum(torch.exp(vec - max_score_broadcast)))

    class BiLSTM_CRF(nn.Module):
        def __init__(self):
            super().__init__()
            self.tagset_size = len(tags)
            self.word_embeds = nn.Embedding(9, 5)
            self.lstm = nn.LSTM(5, 2, num_layers=1, bidirectional=True, batch_first=False)
            self.hidden2tag = nn.Linear(4, self.tagset_size)
            self.transitions = nn.Parameter(torch.randn(self.tagset_size, self.tagset_size))
            self.hidden = (numbers(torch, 2, 1, 2), numbers(torch, 2, 1, 2, seed=1))

        def _forward_alg(self, feats):
            init_alphas = torch.full((1, self.tagset_size), -10000.0)
            init_alphas[0][tags[START]] = 0.0
            forward_var = init_alphas
            for feat in feats:
                alphas_t = []
                for next_tag in range(self.tagset_size):
                    emit_score = feat[next_tag].view(1, -1).expand(1, self.tagset_size)
                    trans_score = self.transitions[next_tag].view(1, -1)
                    next_tag_var = forward_var + trans_score + emit_score
                    alphas_t.append(log_sum_exp(next_tag_var).view(1))
                forward_var = torch.cat(alphas_t).view(1, -1)
            return log_sum_exp(forward_var + self.transitions[tags[STOP]])

        def _get_lstm_features(self, sentence):
            embeds = self.word_embeds(sentence).view(len(sentence), 1, -1)
            lstm_out, self.hidden = self.lstm(embeds, tuple(h.detach() for h in self.hidden))
            return self.hidden2tag(lstm_out.view(len(sentence), 4))

        def _score_sentence(self, feats, wanted):
            score = torch.zeros(1)
            wanted = torch.cat([torch.tensor([tags[START]], dtype=torch.long), wanted])
            for i, feat in enumerate(feats):
                score = score + self.transitions[wanted[i + 1], wanted[i]] + feat[wanted[i + 1]]
            return score + self.transitions[tags[STOP], wanted[-1]]

        def neg_log_likelihood(self, sentence, wanted):
            feats = self._get_lstm_features(sentence)
            return self._forward_alg(feats) - self._score_sentence(feats, wanted)

    model = same_weights(torch, BiLSTM_CRF())
    model.transitions.data[tags[START], :] = -10000
    model.transitions.data[:, tags[STOP]] = -10000
    optimizer, losses = torch.optim.SGD(model.parameters(), lr=0.05, weight_decay=1e-4), []
    for _ in range(3):
        for words, wanted in (([0, 1, 2, 3], [0, 1, 2, 2]), ([4, 5, 2], [2, 0, 1])):
            model.zero_grad()
            loss = model.neg_log_likelihood(torch.tensor(words), torch.tensor(wanted))
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
    return losses


@program
def word_language_model(torch):
    """The official example: batchify, get_batch, repackage_hidden, tied weights, clipping, learning rate by hand."""
    nn = torch.nn

    class RNNModel(nn.Module):
        def __init__(self, ntoken, ninp, nhid, nlayers):
            super().__init__()
            self.ntoken, self.nhid, self.nlayers = ntoken, nhid, nlayers
            self.drop = nn.Dropout(0.0)
            self.encoder = nn.Embedding(ntoken, ninp)
            self.rnn = nn.LSTM(ninp, nhid, nlayers, dropout=0.0, batch_first=False)
            self.decoder = nn.Linear(nhid, ntoken)
            self.decoder.weight = self.encoder.weight
            nn.init.uniform_(self.encoder.weight, -0.1, 0.1)
            nn.init.zeros_(self.decoder.bias)

        def forward(self, input, hidden):
            output, hidden = self.rnn(self.drop(self.encoder(input)), hidden)
            decoded = self.decoder(self.drop(output)).view(-1, self.ntoken)
            return nn.functional.log_softmax(decoded, dim=1), hidden

        def init_hidden(self, bsz):
            weight = next(self.parameters())
            return weight.new_zeros(self.nlayers, bsz, self.nhid), weight.new_zeros(self.nlayers, bsz, self.nhid)

    def repackage_hidden(h):
        if isinstance(h, torch.Tensor):
            return h.detach()
        return tuple(repackage_hidden(v) for v in h)

    corpus = torch.tensor(np.random.default_rng(0).integers(0, 11, 103))
    nbatch = corpus.size(0) // 4
    source = corpus.narrow(0, 0, nbatch * 4).view(4, -1).t().contiguous()
    model, criterion, losses = same_weights(torch, RNNModel(11, 6, 6, 2)), nn.NLLLoss(), []
    model.train()
    hidden = model.init_hidden(4)
    for i in range(0, source.size(0) - 1, 5):
        seq_len = min(5, len(source) - 1 - i)
        data, targets = source[i : i + seq_len], source[i + 1 : i + 1 + seq_len].view(-1)
        model.zero_grad()
        hidden = repackage_hidden(hidden)
        output, hidden = model(data, hidden)
        loss = criterion(output, targets)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 0.25)
        for p in model.parameters():
            p.data.add_(p.grad, alpha=-2.0)
        losses.append(loss.item())
    return losses


@program
def sine_waves(torch):
    """The official time_sequence_prediction: two LSTMCells over split columns, and a future; with Adam for L-BFGS."""
    nn = torch.nn

    class Sequence(nn.Module):
        def __init__(self):
            super().__init__()
            self.lstm1, self.lstm2, self.linear = nn.LSTMCell(1, 7), nn.LSTMCell(7, 7), nn.Linear(7, 1)

        def forward(self, input, future=0):
            outputs = []
            h_t = torch.zeros(input.size(0), 7, dtype=torch.float32)
            c_t, h_t2, c_t2 = h_t.clone(), torch.zeros_like(h_t), torch.zeros_like(h_t)
            for input_t in input.split(1, dim=1):
                h_t, c_t = self.lstm1(input_t, (h_t, c_t))
                h_t2, c_t2 = self.lstm2(h_t, (h_t2, c_t2))
                output = self.linear(h_t2)
                outputs += [output]
            for _ in range(future):
                h_t, c_t = self.lstm1(output, (h_t, c_t))
                h_t2, c_t2 = self.lstm2(h_t, (h_t2, c_t2))
                output = self.linear(h_t2)
                outputs += [output]
            return torch.cat(outputs, dim=1)

    x = torch.from_numpy(np.sin(np.arange(33, dtype=np.float32)[None] / 4 + np.arange(3, dtype=np.float32)[:, None]))
    seq, criterion, losses = same_weights(torch, Sequence()), nn.MSELoss(), []
    optimizer = torch.optim.Adam(seq.parameters(), lr=0.02)

    def closure():
        optimizer.zero_grad()
        loss = criterion(seq(x[:, :-1]), x[:, 1:])
        loss.backward()
        return loss

    for _ in range(4):
        losses.append(optimizer.step(closure).item())
    with torch.no_grad():
        pred = seq(x[:, :-1], future=5)
        return [*losses, criterion(pred[:, :-5], x[:, 1:]).item(), *pred.detach().numpy()[0, -5:].tolist()]


@program
def autoencoder(torch):
    """LSTM autoencoder with a repeated code; the worst windows are anomalies."""
    nn = torch.nn

    class Encoder(nn.Module):
        def __init__(self):
            super().__init__()
            self.rnn1 = nn.LSTM(input_size=1, hidden_size=8, num_layers=1, batch_first=True)
            self.rnn2 = nn.LSTM(input_size=8, hidden_size=4, num_layers=1, batch_first=True)

        def forward(self, x):
            x, (_, _) = self.rnn1(x)
            x, (hidden_n, _) = self.rnn2(x)
            return hidden_n.reshape((x.shape[0], 4))

    class Decoder(nn.Module):
        def __init__(self, seq_len):
            super().__init__()
            self.seq_len = seq_len
            self.rnn1 = nn.GRU(4, 8, batch_first=True)
            self.output_layer = nn.Linear(8, 1)

        def forward(self, x):
            x = x.unsqueeze(1).repeat(1, self.seq_len, 1)
            x, hidden_n = self.rnn1(x)
            return self.output_layer(x)

    model = same_weights(torch, nn.Sequential(Encoder(), Decoder(10)))
    x, optimizer, criterion = numbers(torch, 6, 10, 1), torch.optim.Adam(model.parameters(), 1e-2), nn.L1Loss()
    losses = []
    for _ in range(4):
        optimizer.zero_grad(set_to_none=True)
        loss = criterion(model(x), x)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    with torch.inference_mode():
        errors = torch.mean(torch.abs(model(x) - x), dim=(1, 2))
        threshold = errors.mean() + errors.std()
        return [*losses, threshold.item(), *errors.tolist(), float((errors > threshold).sum().item())]


@program
def translation(torch):
    """Encoder, attention by bmm, decoder step by step; outputs kept in a list and stacked."""
    nn, F = torch.nn, torch.nn.functional

    class Seq2Seq(nn.Module):
        def __init__(self):
            super().__init__()
            self.emb = nn.Embedding(12, 6)
            self.encoder = nn.GRU(6, 8, batch_first=True)
            self.decoder = nn.GRUCell(6 + 8, 8)
            self.attn = nn.Linear(16, 8)
            self.v = nn.Linear(8, 1, bias=False)
            self.out = nn.Linear(8, 12)

        def forward(self, src, trg, mask):
            enc, hidden = self.encoder(self.emb(src))
            hidden, token, outputs = hidden.squeeze(0), trg[:, 0], []
            for t in range(1, trg.shape[1]):
                rep = hidden.unsqueeze(1).repeat(1, src.shape[1], 1)
                energy = torch.tanh(self.attn(torch.cat((rep, enc), dim=2)))
                weights = F.softmax(self.v(energy).squeeze(2).masked_fill(mask == 0, -1e10), dim=1)
                context = torch.bmm(weights.unsqueeze(1), enc).squeeze(1)
                hidden = self.decoder(torch.cat((self.emb(token), context), dim=1), hidden)
                outputs.append(self.out(hidden))
                token = trg[:, t] if t % 2 else outputs[-1].argmax(1)
            return torch.stack(outputs, dim=1)

    rng = np.random.default_rng(0)
    src, trg = torch.tensor(rng.integers(1, 12, (5, 6))), torch.tensor(rng.integers(1, 12, (5, 4)))
    mask = torch.ones_like(src).masked_fill(src > 9, 0)
    model, criterion, losses = same_weights(torch, Seq2Seq()), nn.CrossEntropyLoss(ignore_index=3), []
    optimizer = torch.optim.RMSprop(model.parameters(), lr=0.01)
    for _ in range(4):
        optimizer.zero_grad()
        output = model(src, trg, mask)
        loss = criterion(output.reshape(-1, output.shape[-1]), trg[:, 1:].reshape(-1))
        loss.backward()
        nn.utils.clip_grad_value_(model.parameters(), 0.1)
        optimizer.step()
        losses.append(loss.item())
    return losses


@program
def transformer_classifier(torch):
    """Positional encoding of the tutorial as a buffer, encoder, key_padding_mask, warm-up by LambdaLR."""
    import math

    nn = torch.nn

    class PositionalEncoding(nn.Module):
        def __init__(self, d_model, max_len=20):
            super().__init__()
            self.dropout = nn.Dropout(p=0.0)
            position = torch.arange(max_len).unsqueeze(1)
            div_term = torch.exp(torch.arange(0, d_model, 2) * (-math.log(10000.0) / d_model))
            pe = torch.zeros(1, max_len, d_model)
            pe[0, :, 0::2] = torch.sin(position * div_term)
            pe[0, :, 1::2] = torch.cos(position * div_term)
            self.register_buffer("pe", pe)

        def forward(self, x):
            return self.dropout(x + self.pe[:, : x.size(1)])

    class Classifier(nn.Module):
        def __init__(self):
            super().__init__()
            self.emb, self.pos = nn.Embedding(20, 8, padding_idx=0), PositionalEncoding(8)
            layer = nn.TransformerEncoderLayer(8, 2, 16, dropout=0.0, batch_first=True)
            self.encoder, self.fc = nn.TransformerEncoder(layer, num_layers=2), nn.Linear(8, 3)

        def forward(self, x):
            pad = x == 0
            h = self.encoder(self.pos(self.emb(x) * math.sqrt(8)), src_key_padding_mask=pad)
            keep = (~pad).unsqueeze(-1).float()
            return self.fc((h * keep).sum(dim=1) / keep.sum(dim=1).clamp(min=1.0))

    x = torch.tensor(np.random.default_rng(0).integers(1, 20, (4, 7)))
    x[1, 4:] = 0
    y, model = torch.tensor([0, 2, 1, 1]), Classifier()
    pe = model.pos.pe.clone()
    same_weights(torch, model)
    model.pos.pe.copy_(pe)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2, betas=(0.9, 0.98), eps=1e-8)
    scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: min((step + 1) ** -0.5, (step + 1) * 0.3))
    criterion, losses = nn.CrossEntropyLoss(label_smoothing=0.1), []
    for _ in range(4):
        optimizer.zero_grad()
        loss = criterion(model(x), y)
        loss.backward()
        optimizer.step()
        scheduler.step()
        losses += [loss.item(), optimizer.param_groups[0]["lr"]]
    return losses


@program
def speech(torch):
    """CTC over a bidirectional GRU, time first, greedy decoding."""
    nn = torch.nn

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.rnn = nn.GRU(5, 6, num_layers=2, bidirectional=True, batch_first=True)
            self.norm, self.fc = nn.LayerNorm(12), nn.Linear(12, 7)

        def forward(self, x):
            return self.fc(nn.functional.relu(self.norm(self.rnn(x)[0])))

    model, criterion, losses = same_weights(torch, Net()), nn.CTCLoss(blank=0, zero_infinity=True), []
    x, targets = numbers(torch, 3, 12, 5), torch.tensor(np.random.default_rng(0).integers(1, 7, (3, 4)))
    input_lengths, target_lengths = torch.full((3,), 12, dtype=torch.long), torch.tensor([4, 2, 3])
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    scheduler = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=0.02, steps_per_epoch=2, epochs=3)
    for _ in range(4):
        optimizer.zero_grad()
        log_probs = model(x).log_softmax(2).transpose(0, 1)
        loss = criterion(log_probs, targets, input_lengths, target_lengths)
        loss.backward()
        optimizer.step()
        scheduler.step()
        losses.append(loss.item())
    best = log_probs.argmax(dim=-1).transpose(0, 1)[0].tolist()
    return [*losses, *(float(k) for n, k in enumerate(best) if not n or k != best[n - 1])]


@program
def accumulated_and_averaged(torch):
    """Gradient accumulation, parameter groups, frozen embedding, EMA by hand, plateau, saved and resumed."""
    import copy
    import tempfile

    nn = torch.nn

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.emb, self.rnn, self.fc = (
                nn.Embedding(9, 4),
                nn.RNN(4, 5, nonlinearity="relu", batch_first=True),
                nn.Linear(5, 2),
            )

        def forward(self, x):
            out, h_n = self.rnn(self.emb(x))
            return self.fc(h_n[-1]) + self.fc(out.max(dim=1)[0])

    model = same_weights(torch, Net())
    model.emb.weight.requires_grad = False
    ema = copy.deepcopy(model)
    groups = [{"params": model.rnn.parameters(), "lr": 0.05}, {"params": model.fc.parameters()}]
    optimizer = torch.optim.SGD(groups, lr=0.02, momentum=0.9, nesterov=True)
    scheduler = torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer, mode="min", factor=0.5, patience=0)
    rng, losses, criterion = np.random.default_rng(0), [], nn.CrossEntropyLoss()
    x, y = torch.tensor(rng.integers(0, 9, (8, 6))), torch.tensor(rng.integers(0, 2, 8))
    for epoch in range(4):
        total = 0
        for i, (xb, yb) in enumerate(zip(x.chunk(4), y.chunk(4), strict=True)):
            loss = criterion(model(xb), yb) / 2
            loss.backward()
            if (i + 1) % 2 == 0:
                optimizer.step()
                optimizer.zero_grad()
                with torch.no_grad():
                    for p_ema, p in zip(ema.parameters(), model.parameters(), strict=True):
                        p_ema.mul_(0.9).add_(p, alpha=0.1)
            total += loss.item()
        scheduler.step(total)
        losses += [total, optimizer.param_groups[0]["lr"], optimizer.param_groups[1]["lr"]]
        if epoch == 1:
            with tempfile.TemporaryDirectory() as folder:
                torch.save({"model": model.state_dict(), "optimizer": optimizer.state_dict()}, f"{folder}/c.pt")
                checkpoint = torch.load(f"{folder}/c.pt")
            model.load_state_dict(checkpoint["model"])
            optimizer.load_state_dict(checkpoint["optimizer"])
    with torch.no_grad():
        return [*losses, criterion(ema(x), y).item()]


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", PROGRAMS)
def test_losses_are_the_same(name):
    torch = pytest.importorskip("torch")
    want, found = PROGRAMS[name](torch), PROGRAMS[name](fastseq)
    assert len(want) > 3 and np.isfinite(want).all()
    np.testing.assert_allclose(found, want, rtol=1e-5, atol=1e-5)
