"""Videos: frames are super-resolved, everything else is copied.

::

    upscaling.py       START HERE: a video -> a super-resolved video
    opening.py         open a file with PyAV, choose its video stream, name it in errors
    inspection.py      how the frames of a video are stored
    timing.py          jumps in time, missing times, rounded times
    deinterlacing.py   interlaced frames
    decoding.py        a video -> upright RGB frames and their times
    containers.py      the containers that results may have
    codecs.py          which codec, in which container, with which settings
    hdr.py             HDR, stereo and spherical metadata
    encoding.py        frames -> a segment of the result
    segments.py        which segments are finished
    streams.py         sound, subtitles, covers, attached files, other videos
    joining.py         segments and the other streams -> a video

Most runs have no videos, so these modules are imported when there is one.
"""
