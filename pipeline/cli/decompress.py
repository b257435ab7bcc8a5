"""pipeline decompress."""

from __future__ import annotations

from pathlib import Path

import click

from pipeline.cli.console import Console, output_options


@click.command("decompress")
@click.argument("packed", type=click.Path(path_type=Path))
@click.option("-o", "--output", type=click.Path(path_type=Path), help="The model file; default PACKED.onnx.")
@click.option("--force", is_flag=True, help="Replace an existing file that differs.")
@output_options
def command(console: Console, packed: Path, output: Path | None, force: bool) -> None:
    """Restore the model file from a packed one: exactly the bytes that Unity restores when it loads it.

    \b
    Examples:
      pipeline decompress mosaic.bytes -o mosaic.onnx
    """
    from pipeline.compress.files import read_packed
    from pipeline.support.files import write_new

    destination = output or packed.with_suffix(".onnx")
    model, facts = read_packed(packed)
    write_new(destination, model, force)
    console.say(f"  {facts['bytes']:,} bytes became {len(model):,}, checksum {facts['model_crc32']}")
    console.data({**facts, "model": str(destination)} if console.as_json else str(destination))
