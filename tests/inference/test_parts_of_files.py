"""Data sets in files, such as the variables of a NetCDF: predicted, measured and cut as files are."""

import json
from pathlib import Path

import geopandas
import numpy as np
import pytest
import rasterio.shutil
import shapely
from inference.oracle import PLACE, Oracle, truth, write_scene
from rasterio.errors import NotGeoreferencedWarning

from rs4d.cli import main
from rs4d.errors import UserError
from rs4d.geo.raster import Raster
from rs4d.geo.raster_file import RasterError, file_of, is_local, short_name
from rs4d.inference.inputs import find_inputs
from rs4d.inference.outputs import Origin
from rs4d.inference.running import FOLDER, Options, predict_inputs

ORIGIN = Origin('model.pth', 'config.py', '0')


@pytest.fixture
def ids() -> np.ndarray:
    values = np.ones((90, 120), np.uint16)
    values[10:30, 10:50] = 2
    values[40:80, 60:110] = 3
    return values


@pytest.fixture
def netcdf(tmp_path: Path, ids: np.ndarray, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file of two variables, the first with objects, in the working directory."""
    monkeypatch.chdir(tmp_path)
    write_scene('a.tif', ids)
    with rasterio.open('a.tif') as one:
        profile = one.profile | dict(count=2)
    with rasterio.open('two.tif', 'w', **profile) as two:
        two.write(np.stack([ids, np.ones_like(ids)]))
    rasterio.shutil.copy('two.tif', 'a.nc', driver='netCDF', FORMAT='NC4')
    return tmp_path / 'a.nc'


@pytest.mark.parametrize(
    ('name', 'file', 'short'),
    [
        ('NETCDF:a.nc:Band1', 'a.nc', 'a_Band1'),
        ('NETCDF:"a.nc":Band1', 'a.nc', 'a_Band1'),
        ('netcdf:a.nc:Band1', 'a.nc', 'a_Band1'),  # as rasterio lists it
        ('HDF5:"a.nc"://group/Band1', 'a.nc', 'a_group_Band1'),
        ('GTIFF_DIR:2:a.tif', 'a.tif', 'a_2'),
        ('a.tif', 'a.tif', 'a'),
        ('x:y.tif', 'x:y.tif', 'x:y'),
        ('NETCDF:absent.nc:Band1', None, 'NETCDF:absent'),
        ('https://there/b.tif?key=1', None, 'b'),
        ('/vsicurl/https://there/b.tif', None, 'b'),
    ],
)
def test_names(netcdf: Path, name: str, file: str | None, short: str) -> None:
    Path('x:y.tif').touch()
    assert file_of(name) == file
    assert short_name(name) == short
    assert is_local(name) == (name == file)
    assert find_inputs([name]) == [name]
    if file:
        whole = name.replace(file, str(netcdf.with_name(file)))
        assert file_of(whole) == str(netcdf.with_name(file))
        assert short_name(whole) == short


def test_a_file_of_several_says_what_to_give(netcdf: Path, ids: np.ndarray) -> None:
    with pytest.raises(RasterError, match='give one of them') as refused:
        Raster.open('a.nc')
    given = str(refused.value).split('give one of them, ')[1].split(', ')[0]
    with Raster.open(given) as raster:
        assert np.array_equal(raster.dataset.read(1), ids)
    for absent in ('NETCDF:a.nc:wind', 'NETCDF:b.nc:Band1', 'netcdf:b.nc:Band1'):
        with pytest.raises(RasterError, match=f"'{absent}' is "):
            Raster.open(absent)


@pytest.mark.parametrize('size', [64, 512])
def test_predicted_as_a_file_is(netcdf: Path, ids: np.ndarray, size: int) -> None:
    names = [f'NETCDF:"{netcdf}":Band1', 'netcdf:a.nc:Band2', 'a.tif']
    options = Options(Path('out'), ('gpkg', 'overlay'), size, 24)
    outcome = predict_inputs(Oracle(), names, options, ORIGIN, {})
    assert (outcome.scenes, outcome.objects) == (3, 2 * len(truth(ids)))
    found = geopandas.read_file('out/predictions.gpkg', layer='predictions')
    scenes = [found[found.scene == name] for name in ('NETCDF:"a.nc":Band1', 'a.tif')]
    assert len(scenes[0]) == len(scenes[1]) == 2
    for one, other in zip(*(scene.geometry for scene in scenes), strict=True):
        assert one.equals(other)
    assert sorted(path.name for path in Path('out/overlays').iterdir()) == [
        *('a.png', 'a_Band1.png', 'a_Band2.png')
    ]


def test_a_file_that_has_changed_is_not_gone_on_with(netcdf: Path) -> None:
    class Killed(Oracle):
        def infer(self, prepared: list) -> list:
            if self.calls:
                raise KeyboardInterrupt
            return super().infer(prepared)

    def predict(detector: Oracle) -> None:
        options = Options(Path('out'), size=64, overlap=24)
        predict_inputs(detector, ['NETCDF:a.nc:Band1'], options, ORIGIN, {})

    with pytest.raises(KeyboardInterrupt):
        predict(Killed())
    assert (Path('out') / FOLDER).is_dir()
    rasterio.shutil.copy('a.tif', 'a.nc', driver='netCDF', FORMAT='NC4')
    with pytest.raises(UserError, match='--overwrite'):
        predict(Oracle())


def test_measured_as_a_file_is(netcdf: Path, capsys: pytest.CaptureFixture[str]) -> None:
    printed = []
    for name in ('a.tif', 'NETCDF:a.nc:Band1', 'netcdf:a.nc:Band1'):
        assert main('stats', name) == 0
        lines = capsys.readouterr().out.splitlines()
        printed.append([line for line in lines if not line.startswith('#')])
    assert printed[0] == printed[1] == printed[2]


def test_cut_as_a_file_is(netcdf: Path) -> None:
    house = shapely.box(PLACE.c + 5, PLACE.f - 15, PLACE.c + 25, PLACE.f - 5)
    layer = geopandas.GeoDataFrame(dict(kind=['house']), geometry=[house], crs='EPSG:32616')
    layer.to_file('labels.gpkg')
    words = ['--labels', 'labels.gpkg', '--class-field', 'kind', '--size', '64', '--overlap', '16']
    words += ['--val', '0']
    found = []
    for name in ('a.tif', 'NETCDF:a.nc:Band1'):
        assert main('tile', name, *words, '--out', short_name(name)) == 0
        found.append(json.loads(Path(short_name(name), 'train.json').read_text()))
    assert [image['scene'] for image in found[1]['images']] == ['a_Band1'] * len(found[1]['images'])
    assert found[0]['annotations'] == found[1]['annotations']
    assert len(found[0]['annotations'])


@pytest.mark.filterwarnings('ignore', category=NotGeoreferencedWarning)  # pictures have no place
def test_pictures_in_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Looks(Oracle):
        """Notes the images that a step for pictures, which knows files alone, would be given."""

        def __init__(self) -> None:
            super().__init__()
            self.loader, self.seen = None, []

        def load(self, path: str) -> np.ndarray:
            raise AssertionError(f'{path} is no file')

        def infer(self, prepared: list) -> list:
            self.seen += prepared
            return super().infer([image[..., :1].astype(np.float32) for image in prepared])

    monkeypatch.chdir(tmp_path)
    pixels = np.random.default_rng(0).integers(1, 256, (2, 3, 40, 50), np.uint8)
    for number, page in enumerate(pixels):
        settings = dict(driver='GTiff', height=40, width=50, count=3, dtype='uint8')
        more = dict(append_subdataset=True) if number else {}
        with rasterio.open('pages.tif', 'w', **settings, **more) as file:
            file.write(page)
    looks = Looks()
    predict_inputs(looks, ['GTIFF_DIR:2:pages.tif'], Options(Path('out')), ORIGIN, {})
    (image,) = looks.seen
    assert np.array_equal(image, np.moveaxis(pixels[1], 0, -1)[..., ::-1])
