"""Package metadata of spark_ctr."""

import runpy
import shutil
from pathlib import Path

from setuptools import Distribution, find_packages, setup
from setuptools.command.bdist_wheel import bdist_wheel
from setuptools.command.build_py import build_py

HERE = Path(__file__).parent
NATIVE = runpy.run_path(str(HERE / "spark_ctr" / "kernels" / "native" / "build.py"))


def cuda_sources() -> list[Path]:
    """Return the CUDA sources, which have their own folder in a checkout."""
    return [file for file in sorted((HERE / "gpu").iterdir()) if file.suffix in (".cu", ".h")]


class BuildWithKernels(build_py):
    """Compiles the native kernels where there is a compiler; NumPy does without them."""

    def run(self) -> None:
        """Copy the package and the CUDA sources, then compile into the copy."""
        super().run()
        if not self.editable_mode:
            sources = Path(self.build_lib) / "spark_ctr" / "kernels" / "cuda" / "gpu"
            sources.mkdir(exist_ok=True)
            for source in cuda_sources():
                shutil.copy(source, sources)
        target = NATIVE["LIBRARY"]
        if not self.editable_mode:
            target = Path(self.build_lib) / target.relative_to(HERE.resolve())
        try:
            NATIVE["build"](target)
        except (OSError, RuntimeError) as error:
            self.warn(f"no native kernels, NumPy computes instead: {error}")


class PackageWithKernels(Distribution):
    """A package of one platform if the native kernels will be in it."""

    def has_ext_modules(self) -> bool:
        """Return whether there is a compiler."""
        return NATIVE["compiler"]() is not None


class WheelWithKernels(bdist_wheel):
    """A wheel for every Python: the kernels do not use Python's own interface."""

    def get_tag(self) -> tuple[str, str, str]:
        """Return the tag in the wheel's name."""
        return "py3", "none", super().get_tag()[2]


namespace: dict[str, str] = {}
exec((HERE / "spark_ctr" / "version.py").read_text(encoding="utf-8"), namespace)

setup(
    name="spark_ctr",
    version=namespace["__version__"],
    description="Click-through-rate models as Spark ML stages",
    long_description=(HERE / "README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    license_expression="Apache-2.0 AND CC-BY-4.0",  # the bundled data is CC BY
    license_files=["LICENSE", "spark_ctr/datasets/data/README.md"],
    keywords=[
        "apache-spark",
        "click-through-rate",
        "ctr-prediction",
        "knowledge-distillation",
        "power-law",
        "pyspark",
        "quantization",
        "recommender-systems",
        "spark-ml",
    ],
    classifiers=[
        "Development Status :: 3 - Alpha",
        "Intended Audience :: Developers",
        "Intended Audience :: Science/Research",
        "Operating System :: POSIX :: Linux",
        "Programming Language :: Python :: 3 :: Only",
        "Programming Language :: Python :: 3.11",
        "Topic :: Scientific/Engineering :: Artificial Intelligence",
        "Typing :: Typed",
    ],
    python_requires=">=3.11",
    packages=find_packages(include=["spark_ctr", "spark_ctr.*"]),
    package_data={
        "spark_ctr": [
            "py.typed",
            "jars/*.jar",
            "datasets/data/README.md",
            "datasets/data/*/*.parquet",
        ],
        "spark_ctr.kernels.cuda": ["cubins/*/*.cubin", "cubins/sources.sha256"],
        "spark_ctr.kernels.native": ["*.c", "*.h"],
        "spark_ctr.report": ["*.j2"],
    },
    distclass=PackageWithKernels,
    cmdclass={"build_py": BuildWithKernels, "bdist_wheel": WheelWithKernels},
    install_requires=[
        "pyspark[connect]>=3.5",
        "torch>=2.6",
        "numpy>=1.26",
        "pandas>=2.2",
        "pyarrow>=14",
        "scipy",
        "xxhash",
        "safetensors",
        "threadpoolctl",
        "tqdm",
        "matplotlib",
        "jinja2",
    ],
    extras_require={
        # Petastorm 0.12 reads through pyarrow's legacy datasets, gone since pyarrow 15.
        "petastorm": ["petastorm==0.12.1", "pyarrow<15", "numpy<2"],
        # With CUDA's compiler, for GPUs that the wheel has no machine code for.
        "gpu": ["cuda-core[cu13]; sys_platform == 'linux'"],
        "simd": ["numkong"],
        "dev": [
            "hypothesis",
            "mypy",
            "nvidia-cuda-nvdisasm; sys_platform == 'linux'",
            "powerlaw>=2.0",
            "psutil",
            "pytest",
            "pytest-timeout",
            "pytest-xdist",
            "ruff",
            "scikit-learn",
            "sphinx",
            "tensorboard",
        ],
    },
)
