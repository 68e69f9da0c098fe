"""A pytest plugin that has another machine's kernels tested here, under an emulator.

`rs4d.ops.cpu.library` loads the shared library that ``RS4D_CPU_KERNELS`` names. With this plugin that
is a program for the other machine (``emulated_kernels.cpp`` and the kernels), which the command in
``RS4D_EMULATOR`` runs. What a call's arguments point to is handed over and taken back.
"""

import ctypes
import os
import struct
import subprocess
from collections.abc import Iterator
from typing import Any

import torch

_PROGRAM = os.environ['RS4D_CPU_KERNELS']
_ALIGNMENT = 64
_load = ctypes.CDLL
_address = torch.Tensor.data_ptr
# Memory by its address, the newest last: what of a tensor is pointed into has just been asked for.
_memory: dict[int, int] = {}


def _noting_address(tensor: torch.Tensor) -> int:
    storage = tensor.untyped_storage()
    _memory.pop(storage.data_ptr(), None)
    _memory[storage.data_ptr()] = storage.nbytes()
    return _address(tensor)


class Arena:
    """Copies of what a call needs, with its pointers turned into those of the other process."""

    def __init__(self, start: int) -> None:
        self.start = start
        self.content = bytearray()
        self._places: dict[int, tuple[int, int]] = {}

    def add(self, address: int, size: int) -> int:
        """Copy memory, once; return the offset of the copy."""
        if address not in self._places:
            self.content.extend(bytes(-len(self.content) % _ALIGNMENT))
            self._places[address] = len(self.content), size
            self.content.extend(ctypes.string_at(address, size))
        return self._places[address][0]

    def add_structure(self, structure: ctypes.Structure) -> int:
        """Copy a structure and all that it points to; return the other process' pointer to it."""
        offset = self.add(ctypes.addressof(structure), ctypes.sizeof(structure))
        for place, pointer in _pointers(structure):
            base = next(x for x in reversed(_memory) if x <= pointer < x + _memory[x])
            moved = self.start + self.add(base, _memory[base]) + pointer - base
            struct.pack_into('q', self.content, offset + place, moved)
        return self.start + offset

    def give_back(self, content: bytes) -> None:
        """Write what came back to where it was taken from; structures keep their own pointers."""
        for address, (offset, size) in self._places.items():
            if address in _memory:
                ctypes.memmove(address, content[offset : offset + size], size)


def _pointers(structure: ctypes.Structure, start: int = 0) -> Iterator[tuple[int, int]]:
    """Yield the place in the structure and the value of each pointer that is not null."""
    for name, kind in structure._fields_:
        place, value = start + getattr(type(structure), name).offset, getattr(structure, name)
        if kind is ctypes.c_void_p and value:
            yield place, value
        elif isinstance(value, ctypes.Structure):
            yield from _pointers(value, place)
        elif isinstance(value, ctypes.Array):
            for i, item in enumerate(value):
                yield from _pointers(item, place + i * ctypes.sizeof(item))


class Function:
    """One of the program's functions; ctypes' attributes are set from outside."""

    argtypes: list[Any] = []
    restype: Any = ctypes.c_int

    def __init__(self, program: subprocess.Popen[bytes], start: int, name: str) -> None:
        self._program, self._start, self._name = program, start, name

    def __call__(self, *arguments: Any) -> int | None:
        arena = Arena(self._start)
        passed = [0, 0, 0]
        for i, argument in enumerate(arguments):
            if isinstance(argument, int):
                passed[i] = argument
            elif argument is not None and not isinstance(argument, ctypes.c_void_p):
                # Else the entry point of this process' threads, which are not the other's.
                passed[i] = arena.add_structure(getattr(argument, '_obj', argument))
        size = len(arena.content)
        request = struct.pack('32s3qq', self._name.encode(), *passed, size)
        self._program.stdin.write(request + arena.content)
        self._program.stdin.flush()
        answer = self._program.stdout.read(8 + size)
        assert len(answer) == 8 + size, f'the emulated program has died in {self._name}'
        arena.give_back(answer[8:])
        return self.restype and self.restype(struct.unpack_from('q', answer)[0]).value


class EmulatedLibrary:
    """Stands for ``ctypes.CDLL`` of the kernels."""

    def __init__(self, path: str) -> None:
        command = [*os.environ['RS4D_EMULATOR'].split(), path]
        program = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        (start,) = struct.unpack('q', program.stdout.read(8))
        self._open = program, start

    def __getattr__(self, name: str) -> Function:
        function = Function(*self._open, name)
        setattr(self, name, function)
        return function


def _load_or_emulate(name: str | None, *args: Any, **kwargs: Any) -> Any:
    return EmulatedLibrary(name) if name == _PROGRAM else _load(name, *args, **kwargs)


# On import: pytest imports plugins before the tests, which import the package and so load the library.
torch.Tensor.data_ptr = _noting_address
ctypes.CDLL = _load_or_emulate
