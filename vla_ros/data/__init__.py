"""Demonstrations in the formats in which they are published or recorded, read lazily and without conversion.

sources -> libero | calvin | rlds | lerobot | mcap -> episode -> scan -> windows    -> vla_ros.train
                                                                      -> inspection -> a report, a page, JSON

every format   episode, checks, conventions (units, signs and rates), orientation
libero         hdf5; libero_writer and libero_units serve the simulator
calvin         safe_pickle
rlds           tfds, tfrecord_file, tf_example, rlds_frames, bridge
lerobot        lerobot_info, lerobot_v2, lerobot_v3, parquet, video
mcap           recorded_topics, mcap_files, mcap_messages, mcap_recording, resample, mcap_frames;
               mcap_writer and mcap_recovery serve `vla-ros record`, mcap_run and recorded_chunk `vla-ros replay`
training       scan, windows, statistics, augmentation
inspection     named_source, inspection, inspection_images, inspection_histogram, inspection_warnings, and what
               they become: inspection_text, inspection_page with inspection_plots, inspection_json
"""
