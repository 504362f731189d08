"""What Holoscan needs before it is imported is in place once the package is."""

import ctypes
import resource
import subprocess
import sys
from importlib.metadata import files
from pathlib import Path

import pytest

from pneumo_monai import before_holoscan


def run(program: str, preparation: str = "") -> "subprocess.CompletedProcess[str]":
    """Run Python after a line of shell, as a machine may be set up."""
    command = ["sh", "-c", f'{preparation}\nexec "$@"', "sh", sys.executable, "-W", "error", "-c", program]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)


def test_holoscan_finds_the_cuda_runtime_of_its_wheel_and_enough_stack():
    program = (
        "import pneumo_monai, sys\n"
        "assert 'holoscan' not in sys.modules and 'torch' not in sys.modules\n"
        "import holoscan.core\n"
        "print(*{line.split()[-1] for line in open('/proc/self/maps') if 'libcudart.so' in line})"
    )
    # Holoscan warns of a small stack, and warnings are errors here.
    done = run(program, "ulimit -S -s 8192")
    assert done.returncode == 0, done.stderr
    (wheels,) = [file for file in files("nvidia-cuda-runtime") or () if file.name == "libcudart.so.13"]
    assert Path(done.stdout.strip()) == Path(str(wheels.locate())).resolve()


def test_the_limit_that_is_set_for_good_is_kept():
    done = run("import pneumo_monai, resource; print(*resource.getrlimit(resource.RLIMIT_STACK))", "ulimit -s 16384")
    assert done.stdout.split() == [str(16 << 20)] * 2
    assert resource.getrlimit(resource.RLIMIT_STACK)[0] >= 32 << 20


@pytest.mark.parametrize("folders", [None, [], ["/nowhere"]])
def test_without_the_wheel_the_linker_searches_by_itself(folders: list[str] | None, monkeypatch: pytest.MonkeyPatch):
    class Spec:
        submodule_search_locations = folders

    monkeypatch.setattr(before_holoscan, "find_spec", lambda name: None if folders is None else Spec())
    monkeypatch.setattr(ctypes, "CDLL", lambda path: pytest.fail(f"{path} is loaded"))
    before_holoscan.load_cuda_runtime()


def test_who_reads_imports_no_library_of_training_and_computes_on_one_thread():
    program = (
        "import sys, tensorboard\n"
        "from pneumo_monai.before_holoscan import import_to_read\n"
        "import_to_read()\n"
        "print(*sorted({'jsonschema', 'matplotlib', 'monai', 'tensorboard', 'torchvision'} & sys.modules.keys()))\n"
        "import torchvision, matplotlib, threading, torch\n"
        "threading.Thread(target=lambda: print(torch.get_num_threads())).start()"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    # What somebody imported before is not taken away.
    assert done.stdout.split() == ["monai", "tensorboard", "1"]


def test_who_listens_imports_no_decoder_and_others_find_them_all_the_same():
    program = (
        "import sys\n"
        "from pneumo_monai.before_holoscan import import_to_listen\n"
        "import_to_listen()\n"
        "import pneumo_monai.listener, pneumo_monai.ledger\n"
        "print(*{'PIL', 'gdcm', 'jpeg_ls', 'numpy', 'openjpeg', 'requests', 'pydicom'} & sys.modules.keys())\n"
        "import PIL, gdcm"
    )
    done = run(program)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["pydicom"]


def test_libraries_write_nothing_to_home_and_no_telemetry_runs(tmp_path: Path):
    program = "import pneumo_monai, os, onnxruntime; print(len(os.listdir('/proc/self/task'))); import cupy"
    done = run(program, f"export HOME={tmp_path} OMP_NUM_THREADS=1; unset CUPY_CACHE_DIR ORT_DISABLE_TELEMETRY")
    assert done.returncode == 0, done.stderr
    # Its telemetry has a thread of its own.
    assert done.stdout.split() == ["1"]
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]
