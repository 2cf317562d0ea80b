# Compiles through ccache where the machine has it. A launcher that the user chose stays; -DRYS_CCACHE=OFF turns it off.

option(RYS_CCACHE "rys: compile through ccache if the machine has it" ON)

if(RYS_CCACHE AND NOT CMAKE_C_COMPILER_LAUNCHER AND NOT CMAKE_CXX_COMPILER_LAUNCHER)
    find_program(RYS_CCACHE_PROGRAM ccache)
    find_program(RYS_ENV_PROGRAM env)
    if(RYS_CCACHE_PROGRAM AND RYS_ENV_PROGRAM)
        # paths below the source tree are hashed as relative ones, so that clones share what they compiled
        set(launcher
            "${RYS_ENV_PROGRAM}" "CCACHE_BASEDIR=${CMAKE_SOURCE_DIR}" "CCACHE_NOHASHDIR=1" "${RYS_CCACHE_PROGRAM}")
        foreach(language C CXX CUDA HIP)
            if(NOT CMAKE_${language}_COMPILER_LAUNCHER)
                set(CMAKE_${language}_COMPILER_LAUNCHER ${launcher})
            endif()
        endforeach()
        message(STATUS "rys: compiling through ${RYS_CCACHE_PROGRAM}")
    endif()
endif()
set(GGML_CCACHE OFF) # decided above
