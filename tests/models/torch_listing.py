"""The PyTorch listing, with the import lines left to the caller: ``torch`` and ``nn`` are either package's."""

from __future__ import annotations

from typing import Any

import numpy as np

SIZES = {"input_size": 8, "hidden_size": 16, "output_size": 3}


def model_class(torch: Any, nn: Any) -> Any:
    class LSTMModel(nn.Module):
        def __init__(self, input_size, hidden_size, output_size, num_layers=2, bidirectional=True, dropout=0.2):
            super().__init__()
            self.lstm = nn.LSTM(
                input_size, hidden_size, num_layers, batch_first=True, bidirectional=bidirectional, dropout=dropout
            )
            self.fc = nn.Linear(hidden_size * (2 if bidirectional else 1), output_size)

        def forward(self, x):
            out, (h_n, c_n) = self.lstm(x)
            return self.fc(out[:, -1, :])

    return LSTMModel


def losses(torch: Any, nn: Any, optim: Any, epochs: int = 3) -> list[float]:
    """Losses of three epochs without dropout (both draw other noise), from weights and data of NumPy's making."""
    rng = np.random.default_rng(0)
    model = model_class(torch, nn)(**SIZES, dropout=0.0)
    state = model.state_dict()
    model.load_state_dict(
        {name: torch.tensor((0.2 * rng.standard_normal(tuple(state[name].shape))).astype("float32")) for name in state}
    )
    x = torch.tensor(rng.standard_normal((4, 2, 10, 8)).astype("float32"))
    y = torch.tensor(rng.standard_normal((4, 2, 3)).astype("float32"))
    optimizer, criterion, found = optim.Adam(model.parameters(), lr=1e-2), nn.MSELoss(), []
    for _ in range(epochs):
        for batch, target in zip(x, y):  # noqa: B905
            optimizer.zero_grad()
            loss = criterion(model(batch), target)
            loss.backward()
            optimizer.step()
            found.append(loss.item())
    return found
