# Four bands of 16 bits, red, green, blue and near infrared, as reflectances times 10,000. A config takes
# them with load_image, pad_val and model.data_preprocessor; rs4d stats measures your own.
bands = (1, 2, 3, 4)
stretch = dict(type='linear', low=0, high=[3000, 3000, 3000, 6000])
band_mean = [75, 80, 70, 110]
band_std = [45, 40, 40, 50]
raster = dict(type='LoadRaster', bands='${bands}', stretch='${stretch}', fill='${band_mean}')
normalisation = dict(
    type='BandsDataPreprocessor', mean='${band_mean}', std='${band_std}', bgr_to_rgb=False
)
