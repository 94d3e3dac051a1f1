"""Programs that ask a name server, or seem to, and name nothing for anybody else."""

# Each asks a name server, or seems to, in a way that names nothing for anybody else.
QUEUED = """
answer = {answer!r}
with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as receiver:
    receiver.bind(("", 0))
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        sender.sendto(answer, ("127.0.0.1", receiver.getsockname()[1]))
    receiver.connect((SERVER, 53))
    received = {receive}(receiver)
assert received == answer
"""


ERROR_QUEUE = """
import select
with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
    sock.setsockopt(socket.IPPROTO_IP, 11, 1)  # IP_RECVERR
    sock.connect(("127.0.0.1", 53))
    sock.send({answer!r})
    poller = select.poll()
    poller.register(sock, select.POLLERR)
    assert poller.poll(60_000)
    assert sock.recvmsg(4096, 512, socket.MSG_ERRQUEUE)[0] == {answer!r}
"""


FOREIGN = """
import threading
def ask_elsewhere(query, answer, connected=True):
    global SERVER
    def answer_once():
        _, client = foreign.recvfrom(4096)
        foreign.sendto(answer, client)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as foreign:
        foreign.bind(("127.0.0.9", 53))
        threading.Thread(target=answer_once).start()
        before, SERVER = SERVER, "127.0.0.9"
        assert ask(query, connected=connected) == answer
        SERVER = before
"""


ASK_FOREIGN = FOREIGN + "ask_elsewhere({query!r}, {answer!r}, {connected})"


UNNAMED = "ask({query!r}, from_anybody)"
