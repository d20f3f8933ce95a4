"""A progress bar as on a terminal, which remembers what it showed."""


class WatchedBar:
    """Stands in for `tqdm`; `shown` lists each loss beside the number of calls that were made by then."""

    disable = False

    def __init__(self, calls):
        self.calls, self.shown = calls, []

    def __call__(self, items, *_, **__):
        self.items = items
        return self

    def __enter__(self):
        return self

    def __exit__(self, *_):
        pass

    def __iter__(self):
        return iter(self.items)

    def set_postfix(self, loss):
        self.shown.append((len(self.calls), loss))


def counted(function, calls):
    """Return the function, which also adds to `calls` whenever it is called."""

    def call(*arguments):
        calls.append(function)
        return function(*arguments)

    return call
