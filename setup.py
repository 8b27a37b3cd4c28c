"""Package metadata of spark_ctr."""

from pathlib import Path

from setuptools import find_packages, setup

namespace: dict[str, str] = {}
exec(Path(__file__).with_name("spark_ctr").joinpath("version.py").read_text(), namespace)

setup(
    name="spark_ctr",
    version=namespace["__version__"],
    description="Click-through-rate models as Spark ML stages",
    license="Apache-2.0",
    python_requires=">=3.11",
    packages=find_packages(include=["spark_ctr", "spark_ctr.*"]),
    package_data={
        "spark_ctr": ["jars/*.jar", "datasets/data/README.md", "datasets/data/*/*.parquet"],
        "spark_ctr.report": ["*.j2"],
    },
    install_requires=[
        "pyspark[connect]>=3.5", "torch>=2.6", "numpy", "pandas", "pyarrow>=14", "scipy",
        "powerlaw>=2.0", "safetensors", "tqdm", "matplotlib", "jinja2",
    ],
    extras_require={
        "petastorm": ["petastorm==0.12.1", "pyarrow<15", "numpy<2"],
        "simd": ["numkong"],
        "dev": ["pytest", "hypothesis", "scikit-learn", "ruff"],
    },
)
